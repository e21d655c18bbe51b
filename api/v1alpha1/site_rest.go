package v1alpha1

// RESTDoor asks slurmrestd, Slurm's own server, over HTTP.
//
// +kubebuilder:validation:XValidation:rule="has(self.token) || has(self.refresh)",message="slurmrestd wants a token, so name one in token, or have them made by refresh"
type RESTDoor struct {
	// url is where slurmrestd is, such as https://slurm-api.lxp.lu: what stands before /slurm. Plain http is for the address
	// of a tunnel on the control plane's own host, since everybody on the way could read the token.
	// +required
	// +kubebuilder:validation:Pattern=`^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$`
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.startsWith('https://') || self.matches('^http://(localhost|127[.][0-9.]+|[[]::1[]])(:|/|$)')",message="over plain http everybody on the way can read the token: give https, or the address of a tunnel on this host, such as http://localhost:6820"
	URL string `json:"url"`
	// user is the name of the user. Where it is left out, it is the one that the token names.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._@-]*$`
	// +kubebuilder:validation:MaxLength=64
	User string `json:"user,omitempty"`
	// token is a JSON web token of Slurm's. It is read again for each request, so that whoever renews it only has to replace
	// it where it lies.
	// +optional
	Token *KeySource `json:"token,omitempty"`
	// ca are certificates in PEM that sign slurmrestd's, beside those of the system.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CA string `json:"ca,omitempty"`
	// refresh makes new tokens, for a site that gives short-lived ones. Where it is left out, somebody else renews the token.
	// +optional
	Refresh *TokenRefresh `json:"refresh,omitempty"`
}

// TokenRefresh makes a new token when half of the old one's life is over, by "scontrol token" on the host of the files:
// the login node of files.ssh, or with files.local that of the control plane. New tokens stay in the control plane's memory.
//
// +kubebuilder:validation:XValidation:rule="!has(self.lifetime) || duration(self.lifetime) >= duration('1m')",message="lifetime is below 1m, so that a new token would be made with every other request"
type TokenRefresh struct {
	// lifetime is how long a new token is valid; a site may allow less.
	// +optional
	// +kubebuilder:default="30m"
	Lifetime Duration `json:"lifetime,omitempty"`
}
