package controlplane

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"assay.bench/internal/controlplane/statedir"
)

// contextName names cluster, user and context in the kubeconfig.
const contextName = "assay"

// writeKubeconfig writes the kubeconfig, unless the existing one still leads here: what its user changed, such as the
// namespace of the context, is then kept.
func writeKubeconfig(dir, server string, id *statedir.Identity) (string, error) {
	path := filepath.Join(dir, kubeconfigFile)
	if leadsTo(path, server, id) {
		return path, os.Chmod(path, 0o600)
	}
	c := clientcmdapi.NewConfig()
	c.Clusters[contextName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: id.CACert}
	c.AuthInfos[contextName] = &clientcmdapi.AuthInfo{Token: id.Token}
	c.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: contextName, Namespace: "default"}
	c.CurrentContext = contextName
	text, err := clientcmd.Write(*c)
	if err != nil {
		return "", err
	}
	if err := statedir.WriteFile(path, text); err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	return path, nil
}

func leadsTo(path, server string, id *statedir.Identity) bool {
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return false
	}
	cluster, user := c.Clusters[contextName], c.AuthInfos[contextName]
	return cluster != nil && user != nil && cluster.Server == server && user.Token == id.Token &&
		bytes.Equal(cluster.CertificateAuthorityData, id.CACert)
}
