package rundir

// S3 is the workload of an object store.
type S3 struct {
	// Bucket to use; it is made where it does not exist. Keys begin with Prefix and a slash.
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
	// Region that requests are signed for.
	Region string `json:"region"`
	// Mix holds the weights of the operations.
	Mix S3Mix `json:"mix"`
	// Objects is how many objects of the data set are stored before the load, to be read by it.
	Objects int `json:"objects"`
	// Size of the objects, in bytes.
	Size Size `json:"size"`
	// Payload is PayloadUnsigned, PayloadSHA256 or PayloadCRC32C.
	Payload string `json:"payload"`
	// Discard leaves the content of what is read unchecked.
	Discard bool `json:"discard,omitempty"`
}

// S3Mix holds the weights of the operations; at least one is above 0, and Delete is not above Put.
type S3Mix struct {
	Put    int `json:"put,omitempty"`
	Get    int `json:"get,omitempty"`
	Head   int `json:"head,omitempty"`
	Delete int `json:"delete,omitempty"`
}

// Payloads: how the body of a write is protected on its way.
const (
	// PayloadUnsigned sends UNSIGNED-PAYLOAD: the signature does not cover the body.
	PayloadUnsigned = "Unsigned"
	// PayloadSHA256 signs the SHA-256 of the body.
	PayloadSHA256 = "SHA256"
	// PayloadCRC32C sends UNSIGNED-PAYLOAD and x-amz-checksum-crc32c, which the server checks.
	PayloadCRC32C = "CRC32C"
)

// Size is a distribution of sizes.
type Size struct {
	// Distribution is SizeUniform or SizeLogNormal. A fixed size is uniform with Min equal to Max.
	Distribution string `json:"distribution"`
	// Min and Max are the bounds, both included.
	Min int64 `json:"min"`
	Max int64 `json:"max"`
	// Median and Sigma of a SizeLogNormal before it is cut off at the bounds: ln(size) has the mean ln(Median) and the
	// standard deviation Sigma.
	Median int64   `json:"median,omitempty"`
	Sigma  float64 `json:"sigma,omitempty"`
}

// Distributions of sizes.
const (
	SizeUniform   = "Uniform"
	SizeLogNormal = "LogNormal"
)
