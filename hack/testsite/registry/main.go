// Command registry is the OCI registry of a test site, and what puts images into it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const usage = `usage:
  registry serve ADDRESS FOLDER                    serves, with its blobs in FOLDER
  registry push ADDRESS/NAME[:TAG] TREE [ENTRY...] makes an image of a folder or tar file as one layer, and prints
                                                   ADDRESS/NAME@DIGEST; ENTRY is its entry point
`

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "serve":
		err = serve(args[1], args[2])
	case len(args) >= 3 && args[0] == "push":
		err = push(context.Background(), os.Stdout, args[1], args[2], args[3:])
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

// serve answers until the process ends. Manifests are in memory, blobs in the folder.
func serve(address, folder string) error {
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(folder)), registry.Logger(log.New(os.Stderr, "", log.LstdFlags)))
	return (&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

// push makes the image and stores it. The same tree is the same digest.
func push(ctx context.Context, out io.Writer, reference, tree string, entry []string) error {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return fmt.Errorf("name of the image: %w", err)
	}
	img, err := imageOf(tree, entry)
	if err != nil {
		return err
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("push %s: %w", reference, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("digest of %s: %w", reference, err)
	}
	_, err = fmt.Fprintf(out, "%s@%s\n", ref.Context().Name(), digest)
	return err
}

// imageOf is the image of a folder or a tar file.
func imageOf(tree string, entry []string) (v1.Image, error) {
	info, err := os.Stat(tree)
	if err != nil {
		return nil, fmt.Errorf("tree of the image: %w", err)
	}
	open := func() (io.ReadCloser, error) { return os.Open(tree) }
	if info.IsDir() {
		open = func() (io.ReadCloser, error) { return pack(tree) }
	}
	layer, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(1))
	if err != nil {
		return nil, fmt.Errorf("layer of %s: %w", tree, err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("append the layer: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's own config: %w", err)
	}
	// No time of creation is set, so that the digest is of nothing but the content.
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: entry, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	return mutate.ConfigFile(img, config)
}
