package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// pack is a tar stream of what is below the folder: in the order of names, without owners and times.
func pack(folder string) (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == folder {
				return err
			}
			return add(t, folder, path, entry)
		})
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	return r, nil
}

// add writes one entry with its content.
func add(t *tar.Writer, folder, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var link string
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rel, err := filepath.Rel(folder, path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	clean := &tar.Header{Typeflag: h.Typeflag, Name: rel, Linkname: link, Size: h.Size, Mode: h.Mode}
	if info.IsDir() {
		clean.Name += "/"
	}
	if err := t.WriteHeader(clean); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if _, err := io.Copy(t, f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
