// Answers the questions of tests/foreign/questions.py with Go's own code: the note and tlog packages of its checksum
// database, which the toolchain holds in src/cmd/vendor and a test puts beside this file. Only reading of files,
// paths of tiles (C2SP's begin with the level, Go's with the height) and of .tlog-proof is ours.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"foreign/note"
	"foreign/tlog"
)

const height = 8

func main() {
	var asked struct {
		Vkey      string
		Inclusion []struct {
			Entry []byte
			Proof string
		}
		Consistency []struct {
			First, Second string
			Path          []string
		}
		Logs []struct{ Folder, Checkpoint string }
	}
	must(json.Unmarshal(must1(os.ReadFile(os.Args[1])), &asked))
	verifier := must1(note.NewVerifier(asked.Vkey))
	answers := map[string][]bool{"inclusion": {}, "consistency": {}, "logs": {}}
	answer := func(kind string, err error) {
		answers[kind] = append(answers[kind], err == nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, kind, len(answers[kind])-1, err)
		}
	}
	for _, each := range asked.Inclusion {
		answer("inclusion", checkInclusion(verifier, each.Proof, each.Entry))
	}
	for _, each := range asked.Consistency {
		answer("consistency", checkConsistency(verifier, each.First, each.Second, each.Path))
	}
	for _, each := range asked.Logs {
		answer("logs", checkLog(verifier, each.Folder, each.Checkpoint))
	}
	must(json.NewEncoder(os.Stdout).Encode(answers))
}

// open returns the tree that a checkpoint signed by the verifier's key is about.
func open(verifier note.Verifier, signed string) (tree tlog.Tree, err error) {
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, errors.New("no checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func checkInclusion(verifier note.Verifier, proof string, entry []byte) error {
	head, signed, found := strings.Cut(proof, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("no .tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	path, err := parseHashes(lines[2:])
	if err != nil {
		return err
	}
	tree, err := open(verifier, signed)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func checkConsistency(verifier note.Verifier, first, second string, path []string) error {
	old, err := open(verifier, first)
	if err != nil {
		return err
	}
	tree, err := open(verifier, second)
	if err != nil {
		return err
	}
	hashes, err := parseHashes(path)
	if err != nil {
		return err
	}
	return tlog.CheckTree(tlog.TreeProof(hashes), tree.N, tree.Hash, old.N, old.Hash)
}

// checkLog computes the tree again from the entries in the folder, and compares every tile and the root with it. Then
// it reads the tiles as a client does who has only the checkpoint.
func checkLog(verifier note.Verifier, folder, signed string) error {
	tree, err := open(verifier, signed)
	if err != nil {
		return err
	}
	computed, err := readEntries(folder, tree.N)
	if err != nil {
		return err
	}
	if root, err := tlog.TreeHash(tree.N, computed); err != nil || root != tree.Hash {
		return fmt.Errorf("the entries give another root: %v", err)
	}
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		expected, err := tlog.ReadTileData(tile, computed)
		if err != nil {
			return err
		}
		if found, err := readTile(folder, tile); err != nil || !bytes.Equal(found, expected) {
			return fmt.Errorf("%s differs: %v", path(tile), err)
		}
	}
	return readAsClient(folder, tree)
}

func readAsClient(folder string, tree tlog.Tree) error {
	reader := tlog.TileHashReader(tree, tiles(folder))
	for index := int64(0); index < tree.N; index += 1 + tree.N/50 {
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return err
		}
		leaves, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaves[0]); err != nil {
			return err
		}
	}
	return nil
}

// storage holds the hashes of a tree in Go's own order.
type storage []tlog.Hash

func (s storage) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = s[index]
	}
	return hashes, nil
}

func readEntries(folder string, size int64) (storage, error) {
	var computed storage
	for at := int64(0); at < size; {
		width := min(size-at, 1<<height)
		name := strings.Replace(path(tlog.Tile{H: height, L: 0, N: at >> height, W: int(width)}), "tile/0/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		for end := at + width; at < end; at++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("%s ends within entry %d", name, at)
			}
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			hashes, err := tlog.StoredHashes(at, bundle[2:length], computed)
			if err != nil {
				return nil, err
			}
			computed, bundle = append(computed, hashes...), bundle[length:]
		}
		if len(bundle) > 0 {
			return nil, fmt.Errorf("%s goes on behind its last entry", name)
		}
	}
	return computed, nil
}

// tiles reads a folder as tlog.TileReader.
type tiles string

func (tiles) Height() int                       { return height }
func (tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (folder tiles) ReadTiles(wanted []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range wanted {
		found, err := readTile(string(folder), tile)
		if err != nil {
			return nil, err
		}
		data = append(data, found)
	}
	return data, nil
}

func readTile(folder string, tile tlog.Tile) ([]byte, error) {
	return os.ReadFile(filepath.Join(folder, path(tile)))
}

func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func parseHashes(lines []string) (hashes []tlog.Hash, err error) {
	for _, line := range lines {
		data, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(data) != tlog.HashSize {
			return nil, fmt.Errorf("%q is no hash: %v", line, err)
		}
		hashes = append(hashes, tlog.Hash(data))
	}
	return hashes, nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](value T, err error) T {
	must(err)
	return value
}
