// Answers the questions of tests/foreign/questions.py with @sigstore/verify, found over NODE_PATH. It knows checkpoints and
// proofs of inclusion; about consistency and tiles it is not asked. Splitting a .tlog-proof is ours.
const { readFileSync } = require("fs");
const { createPublicKey } = require("crypto");
const { verifyTLogInclusion } = require("@sigstore/verify/dist/tlog");

const asked = JSON.parse(readFileSync(process.argv[2], "utf8"));
const [, name, id, encoded] = asked.vkey.match(/^([^+]+)\+([^+]+)\+(.+)$/);
const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(encoded, "base64").subarray(1)]);
const log = {
  baseURL: name,
  logID: Buffer.from(id, "hex"),
  publicKey: createPublicKey({ key: spki, format: "der", type: "spki" }),
};

function isIncluded({ entry, proof }) {
  const cut = proof.indexOf("\n\n");
  const [, index, ...hashes] = proof.slice(0, cut).split("\n");
  const inclusionProof = {
    logIndex: index.slice("index ".length),
    hashes: hashes.map((each) => Buffer.from(each, "base64")),
    checkpoint: { envelope: proof.slice(cut + 2) },
  };
  try {
    verifyTLogInclusion({ canonicalizedBody: Buffer.from(entry, "base64"), inclusionProof }, [log]);
    return true;
  } catch (error) {
    if (error.code !== "TLOG_INCLUSION_PROOF_ERROR") throw error;
    return false;
  }
}

console.log(JSON.stringify({ inclusion: asked.inclusion.map(isIncluded) }));
