package reconcile

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The keys of a credential's Secret.
const (
	CredentialToken    = "token"
	CredentialUsername = "username"
	CredentialPassword = "password"
)

// CreateCredential is the effect that makes the Secret with a service's random credential of one run.
type CreateCredential struct {
	Name   string
	Labels map[string]string
	// Owner is for people and a garbage collector; nothing depends on one.
	Owner metav1.OwnerReference
}

// PerformCredential makes the Secret from random bytes. One that exists stays as it is: a server may use it already.
func PerformCredential(ctx context.Context, c client.Client, random io.Reader, namespace string, e CreateCredential) error {
	var bytes [36]byte
	if _, err := io.ReadFull(random, bytes[:]); err != nil {
		return fmt.Errorf("random bytes for secret %s: %w", e.Name, err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: e.Name, Labels: e.Labels,
			OwnerReferences: []metav1.OwnerReference{e.Owner},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			CredentialToken:    []byte(hex.EncodeToString(bytes[:16])),
			CredentialUsername: []byte("assay" + hex.EncodeToString(bytes[16:20])),
			CredentialPassword: []byte(hex.EncodeToString(bytes[20:])),
		},
	}
	err := c.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
