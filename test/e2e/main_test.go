//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recipe is the path of a recipe of the repository.
func recipe(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "recipes", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// edited is a recipe of the repository with texts replaced: old, new, old, new.
func edited(t *testing.T, name string, texts ...string) string {
	t.Helper()
	b, err := os.ReadFile(recipe(t, name))
	if err != nil {
		t.Fatal(err)
	}
	out := string(b)
	for i := 0; i < len(texts); i += 2 {
		if strings.Count(out, texts[i]) != 1 {
			t.Fatalf("%s has %d × %q, want one", name, strings.Count(out, texts[i]), texts[i])
		}
		out = strings.Replace(out, texts[i], texts[i+1], 1)
	}
	return out
}

// contains says which words a text lacks.
func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	text = strings.Join(strings.Fields(text), " ") // wherever its lines are broken
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
}
