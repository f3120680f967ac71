package main

import (
	"context"
	"io"
)

func command(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	connectorPlugin().Main()
	return 0
}
