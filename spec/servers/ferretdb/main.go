// A Mongo-wire server over SQLite files: ferretdb ADDRESS FOLDER. Prints its URI once it listens,
// ends at SIGTERM.
//
// MongoDB changes one document atomically; FerretDB 1.24 reads it, then writes it. So clients come
// in through a relay that lets one writing command at a time to the server behind it.
//
// What is written survives the end of this process, not of the machine: nothing is flushed to disk.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: ferretdb ADDRESS FOLDER")
	}
	debug.SetGCPercent(400) // a query reads its whole collection: much garbage, little memory
	socket := filepath.Join(os.Args[2], "ferretdb.sock")
	os.Remove(socket)
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{Unix: socket},
		Logger:    quiet,
		Handler:   "sqlite",
		SQLiteURL: "file:" + os.Args[2] + "/?_pragma=synchronous(off)",
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go serve(listener, socket)
	fmt.Printf("mongodb://%s/\n", listener.Addr())
	if err := server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
