package v1alpha1

// Image is a container image.
//
// +kubebuilder:validation:XValidation:rule="self.uri.startsWith('/') || self.uri.matches('^(docker|library)://[^/ ][^ ]*$') || self.uri.startsWith('oci:///')",message="use an absolute path of a SIF, docker:// or library:// with the name of an image, or oci:// with the absolute path of a layout",fieldPath=".uri"
// +kubebuilder:validation:XValidation:rule="self.uri.startsWith('/') || has(self.digest)",message="an image from a registry needs its digest, for a tag such as latest may be another image tomorrow",fieldPath=".digest"
// +kubebuilder:validation:XValidation:rule="self.uri.startsWith('/') || self.uri.startsWith('oci:') || !self.uri.contains('@')",message="the digest stands in the field digest, not behind an @",fieldPath=".uri"
type Image struct {
	// uri is an absolute path of a SIF file, or an image of a registry (docker://, library://) or of an OCI layout in a
	// folder of the site (oci:///path). What is no file is pulled once into the site's store, by a job of its own; of a tag
	// in it nothing is made.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[^\x00-\x1f]+$`
	URI string `json:"uri"`
	// digest of the image: sha256 and 64 hexadecimal digits. For a SIF file it is the SHA-256 of the file, which is compared
	// before the server starts.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
	// binds are absolute paths of the node that the container sees under the same names, read-only.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^/[A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:items:MaxLength=512
	Binds []string `json:"binds,omitempty"`
}

// PulledImage is an image that a job puts into the site's store.
//
// +kubebuilder:validation:XValidation:rule="self.uri.matches('^(docker|oci|library)://.+')",message="only what comes from a registry is pulled",fieldPath=".uri"
type PulledImage struct {
	// uri of the image, as Image has it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	URI string `json:"uri"`
	// digest of the image, as Image has it.
	// +required
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`
}

// SiteImages says how images from a registry come into the site's store, the folder images of its workDir.
type SiteImages struct {
	// pull is Job for a job that pulls what is not there, or Never: then a person puts it there, and what is not there is
	// refused.
	// +optional
	// +kubebuilder:validation:Enum=Job;Never
	// +kubebuilder:default=Job
	Pull string `json:"pull,omitempty"`
	// resources of that job, on one node. Where nothing is said, timeLimit is 30m, cpusPerTask 4, and the rest as in
	// defaults.client.
	// +optional
	Resources Resources `json:"resources,omitempty"`
	// insecureRegistries speak plain HTTP; each is a host, or host:port.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]*$`
	// +kubebuilder:validation:items:MaxLength=255
	InsecureRegistries []string `json:"insecureRegistries,omitempty"`
}

// Values of SiteImages.Pull.
const (
	// PullByJob: a job pulls what is not in the store.
	PullByJob = "Job"
	// PullNever: people put images into the store.
	PullNever = "Never"
)
