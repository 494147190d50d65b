//go:build tools

// Package servers names the servers that tests build: go build <package>.
package servers

import (
	_ "github.com/livekit/livekit-server/cmd/server"
	_ "github.com/versity/versitygw/cmd/versitygw"
)
