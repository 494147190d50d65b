package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// Wire format: MongoDB's OP_MSG. A message is a header of four little-endian int32 (length,
// request, response to, opcode), flags, then sections; section 0 is a BSON document whose first
// key is the command's name.
const (
	headerLen  = 16
	opMsg      = 2013
	nameAt     = headerLen + 4 + 1 + 4 + 1 // flags, section kind, document length, value type
	maxMessage = 48 << 20
)

var writing = map[string]bool{
	"insert": true, "update": true, "delete": true, "findAndModify": true, "findandmodify": true,
	"create": true, "createIndexes": true, "drop": true, "dropDatabase": true,
}

var oneWriter sync.Mutex

func serve(listener net.Listener, socket string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go relay(client, socket)
	}
}

// One connection: a request, its answer, the next request.
func relay(client net.Conn, socket string) {
	defer client.Close()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	for {
		request, err := read(client)
		if err != nil {
			return
		}
		answer, err := exchange(server, request)
		if err != nil {
			return
		}
		if _, err = client.Write(answer); err != nil {
			return
		}
	}
}

func exchange(server net.Conn, request []byte) ([]byte, error) {
	if writing[command(request)] {
		oneWriter.Lock()
		defer oneWriter.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	return read(server)
}

func command(message []byte) string {
	if len(message) < nameAt || binary.LittleEndian.Uint32(message[12:]) != opMsg {
		return ""
	}
	name, _, _ := bytes.Cut(message[nameAt:], []byte{0})
	return string(name)
}

func read(from io.Reader) ([]byte, error) {
	header := make([]byte, headerLen)
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(header)
	if length < headerLen || length > maxMessage {
		return nil, errors.New("not a message")
	}
	message := append(header, make([]byte, length-headerLen)...)
	_, err := io.ReadFull(from, message[headerLen:])
	return message, err
}
