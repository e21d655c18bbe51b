package site

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// Another limit of requests reaches the open door, once, without a new door.
func TestLimitsReachTheDoor(t *testing.T) {
	k, _, _ := kind(t)
	var told []v1alpha1.SiteLimits
	i := slices.IndexFunc(k.Openers, func(o Opener) bool { return o.Name == "sim" })
	open := k.Openers[i].Open
	k.Openers[i].Open = func(ctx context.Context, s *v1alpha1.Site, secrets Secrets) (Opened, error) {
		opened, err := open(ctx, s, secrets)
		opened.Limit = func(l v1alpha1.SiteLimits) { told = append(told, l) }
		return opened, err
	}
	site := simSite()
	perform(t, k, site, Open{}, Probe{})
	site.Spec.Limits.Rate = "2"
	for range 3 {
		seen := perform(t, k, site)
		if !seen.current {
			t.Fatal("another limit needs no new door")
		}
		for _, e := range decide(site.DeepCopy(), seen, noon).Do {
			if _, ok := e.(Limit); ok {
				perform(t, k, site, e)
			}
		}
	}
	if len(told) != 1 || told[0].Rate != "2" {
		t.Errorf("the door was told %+v", told)
	}
}

// A door reads the Secrets of its Site's namespace and no other.
func TestSecretsOfAnotherNamespaceAreOutOfReach(t *testing.T) {
	k, _, _ := kind(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "theirs", Name: "login"}, Data: map[string][]byte{"key": []byte("x")}})
	if b, err := k.secretsOf("theirs")(t.Context(), "login", "key"); err != nil || string(b) != "x" {
		t.Fatalf("in its own namespace: %q, %v", b, err)
	}
	for _, name := range []string{"login", "theirs/login", "../theirs/login"} {
		_, err := k.secretsOf("ours")(t.Context(), name, "key")
		if !errors.Is(err, slurmbridge.ErrCredentials) || !strings.Contains(err.Error(), "does not exist in this namespace") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
