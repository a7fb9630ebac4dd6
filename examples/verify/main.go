// Checks a certificate of Expunge with none of its code: Go's own implementations of signed notes and transparency logs
// (golang.org/x/mod/sumdb), and Ed25519 and DSSE in a few lines.
//
//	go run . DIRECTORY KEY
//
// DIRECTORY holds certificate.json, records.jsonl and obligations.jsonl; KEY is the log's public key (name+hash+key).
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type envelope struct {
	Payload     string `json:"payload"`
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig string `json:"sig"`
	} `json:"signatures"`
}

type statement struct {
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	Predicate struct {
		Log struct {
			Checkpoint string `json:"checkpoint"`
		} `json:"log"`
		Records struct {
			Number int    `json:"number"`
			Root   string `json:"root"`
		} `json:"records"`
		Obligations struct {
			Number int `json:"number"`
		} `json:"obligations"`
	} `json:"predicate"`
}

type record struct {
	Index int64    `json:"index"`
	Entry string   `json:"entry"`
	Proof []string `json:"proof"`
}

func must(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func refuse(wrong bool, what string) {
	if wrong {
		fmt.Fprintln(os.Stderr, what)
		os.Exit(1)
	}
}

func lines(file string) [][]byte {
	raw, err := os.ReadFile(file)
	must(err, file)
	var found [][]byte
	scanner := bufio.NewScanner(bytes.NewReader(raw))
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		found = append(found, append([]byte(nil), scanner.Bytes()...))
	}
	must(scanner.Err(), file)
	return found
}

// root is the Merkle tree hash over leaves, by Go's own tree.
func root(leaves [][]byte) tlog.Hash {
	var stored []tlog.Hash
	for number, leaf := range leaves {
		more, err := tlog.StoredHashes(int64(number), leaf, tlog.HashReaderFunc(func(wanted []int64) ([]tlog.Hash, error) {
			found := make([]tlog.Hash, len(wanted))
			for at, each := range wanted {
				found[at] = stored[each]
			}
			return found, nil
		}))
		must(err, "tree")
		stored = append(stored, more...)
	}
	hash, err := tlog.TreeHash(int64(len(leaves)), tlog.HashReaderFunc(func(wanted []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(wanted))
		for at, each := range wanted {
			found[at] = stored[each]
		}
		return found, nil
	}))
	must(err, "tree")
	return hash
}

func main() {
	refuse(len(os.Args) != 3, "usage: go run . DIRECTORY KEY")
	directory, key := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(key)
	must(err, "key")
	public, err := base64.StdEncoding.DecodeString(strings.SplitN(key, "+", 3)[2])
	must(err, "key")

	var signed envelope
	raw, err := os.ReadFile(filepath.Join(directory, "certificate.json"))
	must(err, "certificate")
	must(json.Unmarshal(raw, &signed), "certificate")
	payload, err := base64.StdEncoding.DecodeString(signed.Payload)
	must(err, "payload")
	signature, err := base64.StdEncoding.DecodeString(signed.Signatures[0].Sig)
	must(err, "signature")
	message := fmt.Sprintf("DSSEv1 %d %s %d %s", len(signed.PayloadType), signed.PayloadType, len(payload), payload)
	refuse(!ed25519.Verify(public[1:], []byte(message), signature), "the certificate is not signed with this key")

	var said statement
	must(json.Unmarshal(payload, &said), "statement")
	opened, err := note.Open([]byte(said.Predicate.Log.Checkpoint), note.VerifierList(verifier))
	must(err, "checkpoint")
	checkpoint := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(checkpoint[1], 10, 64)
	must(err, "checkpoint")
	head, err := tlog.ParseHash(checkpoint[2])
	must(err, "checkpoint")

	var entries [][]byte
	for _, line := range lines(filepath.Join(directory, "records.jsonl")) {
		var each record
		must(json.Unmarshal(line, &each), "record")
		proof := tlog.RecordProof{}
		for _, text := range each.Proof {
			hash, err := hex.DecodeString(text)
			must(err, "proof")
			proof = append(proof, tlog.Hash(hash))
		}
		must(tlog.CheckRecord(proof, size, head, each.Index, tlog.RecordHash([]byte(each.Entry))), "record in the log")
		entries = append(entries, []byte(each.Entry))
	}
	hash := root(entries)
	refuse(hex.EncodeToString(hash[:]) != said.Predicate.Records.Root, "these are not the records")
	refuse(len(entries) != said.Predicate.Records.Number, "these are not all records")

	obligations := lines(filepath.Join(directory, "obligations.jsonl"))
	hash = root(obligations)
	refuse(hex.EncodeToString(hash[:]) != said.Subject[0].Digest["sha256"], "these are not the obligations")
	refuse(len(obligations) != said.Predicate.Obligations.Number, "these are not all obligations")
	fmt.Printf("holds: %d records in a log of %d, %d obligations\n", len(entries), size, len(obligations))
}
