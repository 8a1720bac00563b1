// Command check verifies a checkpoint and proofs of the ledger with Go's own libraries: golang.org/x/mod/sumdb/note and tlog.
// It reads {key, checkpoint, old_checkpoint, leaf, index, inclusion, consistency} as JSON from standard input.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Key           string      `json:"key"`
	Checkpoint    string      `json:"checkpoint"`
	OldCheckpoint string      `json:"old_checkpoint"`
	Leaf          string      `json:"leaf"`
	Index         int64       `json:"index"`
	Inclusion     []tlog.Hash `json:"inclusion"`
	Consistency   []tlog.Hash `json:"consistency"`
}

func main() {
	var asked question
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	verifier, err := note.NewVerifier(asked.Key)
	must(err)
	size, root := open(asked.Checkpoint, verifier)
	must(tlog.CheckRecord(asked.Inclusion, size, root, asked.Index, tlog.RecordHash([]byte(asked.Leaf))))
	oldSize, oldRoot := open(asked.OldCheckpoint, verifier)
	must(tlog.CheckTree(asked.Consistency, size, root, oldSize, oldRoot))
	fmt.Printf("verified %d leaves\n", size)
}

func open(text string, verifier note.Verifier) (int64, tlog.Hash) {
	signed, err := note.Open([]byte(text), note.VerifierList(verifier))
	must(err)
	lines := strings.Split(signed.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	decoded, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	var root tlog.Hash
	copy(root[:], decoded)
	return size, root
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
