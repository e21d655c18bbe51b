package slurmjob

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"assay.bench/internal/plan"
)

func TestCredential(t *testing.T) {
	cases := map[string]struct {
		reason  string
		data    map[string]string
		needs   plan.Needs
		want    string // the file
		wantErr string
	}{
		"token": {"inference sends it", map[string]string{"token": "t"}, plan.NeedsToken, `{"token":"t","username":"","password":""}`, ""},
		"pair":  {"what signs requests has two parts", map[string]string{"username": "u", "password": "p"}, "", `{"token":"","username":"u","password":"p"}`, ""},
		"pair for a token": {"every request would be refused, without a hint", map[string]string{"username": "u", "password": "p"}, plan.NeedsToken, "",
			"the Secret mine does not hold the key token, and inference sends nothing else: add it"},
		"line end": {"a file often ends with one", map[string]string{"token": "t\n"}, plan.NeedsToken, "",
			"the key token of the Secret mine holds a space or a line end, which no header can carry: store it without, as kubectl create secret --from-literal does"},
		"token for a pair": {"s3 signs by two keys", map[string]string{"token": "t", "username": "u"}, plan.NeedsPair, "",
			"the Secret mine does not hold the keys username (the access key) and password (the secret key), by which s3 signs: add them"},
		"line end of a pair": {"a file often ends with one", map[string]string{"username": "u", "password": "p\n"}, plan.NeedsPair, "",
			"the key username or password of the Secret mine holds a space or a line end, which no S3 key has: store it without, as kubectl create secret --from-literal does"},
		"half a pair": {"it signs nothing", map[string]string{"username": "u"}, "", "",
			"the Secret mine holds neither the key token nor the keys username and password: add them"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := corev1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "mine"}, Data: map[string][]byte{}}
			for key, value := range tc.data {
				secret.Data[key] = []byte(value)
			}
			k := &Kind{Deps: Deps{Live: fake.NewClientBuilder().WithScheme(scheme).WithObjects(secret).Build()}}
			got, err := k.credential(t.Context(), "lab", plan.Secret{Name: "mine", Needs: tc.needs})
			if tc.wantErr == "" && (err != nil || string(got) != tc.want+"\n") {
				t.Errorf("%s: got %s, %v, want %s", tc.reason, got, err, tc.want)
			}
			if tc.wantErr == "" {
				return
			}
			var why *hindrance
			if !errors.As(err, &why) || !why.stalled || why.message != tc.wantErr {
				t.Errorf("%s: got %v, want a refusal: %s", tc.reason, err, tc.wantErr)
			}
		})
	}
}
