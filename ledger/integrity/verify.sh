#!/bin/sh
# Checks one event of an evidence bundle with nothing but a POSIX shell and openssl (3.0 or later).
# usage, in the unpacked bundle: sh verify.sh POSITION VKEY    (VKEY from who you trust, not from the bundle)
set -eu
e=events/$1 vkey=$2 t=$(mktemp -d); trap 'rm -r "$t"' EXIT
sha() { openssl dgst -sha256 -binary; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
fail() { echo "NOT PROVEN: $1"; exit 1; }
sed '1,/^$/d' "$e/proof.tlog-proof" > "$t/note"; sed '/^$/,$d' "$t/note" > "$t/text"
# 1. payload and record are those that the entry commits to (an erased event has neither)
if [ -e "$e/salt" ]; then
  grep -q "\"commitment\":\"$(cat "$e/salt" "$e/payload" | sha | hex)\"" "$e/entry" || fail 'the payload is another'
  grep -q "\"stream\":\"$({ cat "$e/salt"; printf stream; cat "$e/stream"; } | sha | hex)\"" "$e/entry" || fail 'the record is another'
fi
# 2. the entry's hash leads to the root in the checkpoint (RFC 9162, section 2.1.3.2)
{ printf '\0'; cat "$e/entry"; } | sha > "$t/h"
i=$(sed -n 's/^index //p' "$e/proof.tlog-proof") n=$(($(sed -n 2p "$t/text") - 1))
[ "$i" = "$(($1 - 1))" ] || fail 'the proof is for another position'
for sibling in $(sed '1,/^index/d;/^$/,$d' "$e/proof.tlog-proof"); do
  echo "$sibling" | openssl base64 -d -A > "$t/s"
  if [ $((i & 1)) = 1 ] || [ "$i" = "$n" ]; then
    { printf '\1'; cat "$t/s" "$t/h"; } | sha > "$t/p"
    while [ $((i & 1)) = 0 ] && [ "$i" != 0 ]; do i=$((i >> 1)) n=$((n >> 1)); done
  else { printf '\1'; cat "$t/h" "$t/s"; } | sha > "$t/p"; fi
  mv "$t/p" "$t/h"; i=$((i >> 1)) n=$((n >> 1))
done
[ "$n" = 0 ] && [ "$(openssl base64 -A < "$t/h")" = "$(sed -n 3p "$t/text")" ] || fail 'the path does not lead to the root'
# 3. the key signed the checkpoint: Ed25519 over its text
[ "$(sed -n 1p "$t/text")" = "${vkey%%+*}" ] || fail 'the checkpoint is of another log'
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; echo "${vkey#*+*+}" | openssl base64 -d -A | tail -c 32; } > "$t/key"
for signature in $(sed -n "s|^— ${vkey%%+*} ||p" "$t/note"); do
  echo "$signature" | openssl base64 -d -A | tail -c +5 > "$t/signature"
  if openssl pkeyutl -verify -pubin -keyform DER -inkey "$t/key" -rawin -in "$t/text" -sigfile "$t/signature" > "$t/said" 2>&1; then
    echo "PROVEN: position $1 is in $(sed -n 1p "$t/text") as of $(sed -n 2p "$t/text") events"; exit 0; fi
done
fail 'the checkpoint is not signed by this key'
