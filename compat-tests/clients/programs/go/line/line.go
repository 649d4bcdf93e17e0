// Package line is how the tests talk to a client program: one JSON object a line in, one a line out.
package line

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Timeout of one call of a client.
const Timeout = 40 * time.Second

// Record is a record as the tests see it. Bytes travel as base64.
type Record struct {
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
	Timestamp int64    `json:"timestamp"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
}

// Header is a name and its content.
type Header struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// Place is a partition of a topic.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// Polled is what a group's member owns now, and what it was given since it was last asked.
type Polled struct {
	Assignment []Place  `json:"assignment"`
	Records    []Record `json:"records"`
}

// Request has the arguments of all operations; each uses some.
type Request struct {
	Op         string            `json:"op"`
	Bootstrap  string            `json:"bootstrap"`
	Topic      string            `json:"topic"`
	Topics     []string          `json:"topics"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	Records    []Record          `json:"records"`
	Codec      string            `json:"codec"`
	Acks       string            `json:"acks"`
	Idempotent bool              `json:"idempotent"`
	Offset     int64             `json:"offset"`
	Count      int               `json:"count"`
	Timestamp  int64             `json:"timestamp"`
	Configs    map[string]string `json:"configs"`
	Group      string            `json:"group"`
	Instance   string            `json:"instance"`
	Assignor   string            `json:"assignor"`
	Member     int               `json:"member"`
	Leave      bool              `json:"leave"`
}

// Serve answers requests until standard input ends.
func Serve(operations map[string]func(*Request) (any, error)) {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	decoder := json.NewDecoder(in)
	for {
		var request Request
		if decoder.Decode(&request) != nil {
			return
		}
		operation, known := operations[request.Op]
		var result any
		err := fmt.Errorf("no operation %q", request.Op)
		if known {
			result, err = operation(&request)
		}
		if err != nil {
			_ = out.Encode(map[string]string{"error": err.Error()})
		} else {
			_ = out.Encode(map[string]any{"result": result})
		}
	}
}
