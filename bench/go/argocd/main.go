// Command argocd is the part of Argo CD that syncs, from its own module: the application controller, the repository
// server, and a cache that speaks Redis in their stead (Argo CD's own tests use the same one). ARGOCD_BINARY_NAME says
// which, as in Argo CD's binary. The web page and its server are left out: their page is not in the module.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/cobra"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	repository "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	part := os.Getenv("ARGOCD_BINARY_NAME")
	if part == "" {
		part = filepath.Base(os.Args[0])
	}
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller": controller.NewCommand,
		"argocd-repo-server":            repository.NewCommand,
		"cache":                         cache,
	}
	command, known := commands[part]
	if !known {
		fmt.Fprintf(os.Stderr, "argocd: %q is no part of it: set ARGOCD_BINARY_NAME\n", part)
		os.Exit(2)
	}
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}

// cache answers as Redis does, until it is told to end. Its time does not pass by itself, so it is pushed on.
func cache() *cobra.Command {
	var address string
	command := &cobra.Command{Use: "cache", RunE: func(*cobra.Command, []string) error {
		server := miniredis.NewMiniRedis()
		if err := server.StartAddr(address); err != nil {
			return err
		}
		defer server.Close()
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, os.Interrupt)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return nil
			case <-tick.C:
				server.FastForward(time.Second)
			}
		}
	}}
	command.Flags().StringVar(&address, "address", "127.0.0.1:6379", "where it listens")
	return command
}
