package v1alpha1

// S3Workload writes, reads, looks up and deletes objects through the S3 API.
//
// It touches only objects below a prefix of its own, and makes the bucket where there is none. The objects to be read are
// stored before the measurement.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mix) || !has(self.mix.delete) || self.mix.delete <= (has(self.mix.put) ? self.mix.put : 0)",message="delete is at most put, for there is never more to delete than was written",fieldPath=".mix.delete"
type S3Workload struct {
	// bucket to use; it is made where it does not exist, and never removed.
	// +optional
	// +kubebuilder:validation:Pattern=`^[a-z0-9][-.a-z0-9]*[a-z0-9]$`
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:default=assay
	Bucket string `json:"bucket,omitempty"`
	// prefix comes before the load's own prefix in every key, such as team/benchmarks.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`
	// +kubebuilder:validation:MaxLength=256
	Prefix string `json:"prefix,omitempty"`
	// region that requests are signed for.
	// +optional
	// +kubebuilder:validation:Pattern=`^[a-z0-9-]+$`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:default=us-east-1
	Region string `json:"region,omitempty"`
	// mix holds the weights of the operations.
	// +optional
	// +kubebuilder:default={put: 1, get: 1}
	Mix S3Mix `json:"mix,omitempty"`
	// objects is how many objects are stored before the measurement, to be read by it. Where the mix deletes, those that the
	// first deletes of each phase take are stored beside them: as many as requests may be under way at once. How long that
	// takes nobody knows beforehand: the time limit of the job must leave room for it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	// +kubebuilder:default=64
	Objects int32 `json:"objects,omitempty"`
	// size of the objects.
	// +required
	Size ObjectSize `json:"size"`
	// payload is how the body of a write is protected on its way: Unsigned leaves it to the connection, SHA256 signs it,
	// and CRC32C sends a checksum that the server verifies. The client goes through the whole object for either before it
	// sends the first byte, which counts as part of the write: e2e and put hold it, send_lag does not. A core does about
	// 1.5 GB/s of SHA256 and ten times as much of CRC32C.
	// +optional
	// +kubebuilder:validation:Enum=Unsigned;SHA256;CRC32C
	// +kubebuilder:default=Unsigned
	Payload string `json:"payload,omitempty"`
	// content is what becomes of the content that is read: Verify checks its length, and of each block of 4 KiB the stamp
	// and the CRC32C with which it was stored; Discard checks the length alone and saves the client's CPU.
	// +optional
	// +kubebuilder:validation:Enum=Verify;Discard
	// +kubebuilder:default=Verify
	Content string `json:"content,omitempty"`
}

// What becomes of the content that is read.
const (
	ContentVerify  = "Verify"
	ContentDiscard = "Discard"
)

// S3Mix holds the weights of the operations: {put: 1, get: 3} reads three times for each write.
//
// +kubebuilder:validation:XValidation:rule="(has(self.put) ? self.put : 0) + (has(self.get) ? self.get : 0) + (has(self.head) ? self.head : 0) + (has(self.delete) ? self.delete : 0) > 0",message="name at least one of put, get, head, delete with a weight above 0"
type S3Mix struct {
	// put writes an object that is not there yet.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Put int32 `json:"put,omitempty"`
	// get reads an object whole.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Get int32 `json:"get,omitempty"`
	// head looks an object up.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Head int32 `json:"head,omitempty"`
	// delete removes an object that the same instance has written before; at most put.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Delete int32 `json:"delete,omitempty"`
}

// ObjectSize is a distribution of sizes.
//
// +kubebuilder:validation:XValidation:rule="[has(self.fixed), has(self.uniform), has(self.logNormal)].filter(x, x).size() == 1",message="name exactly one of fixed, uniform, logNormal"
type ObjectSize struct {
	// fixed is the same size for every object.
	// +optional
	Fixed Quantity `json:"fixed,omitempty"`
	// uniform draws from a range; each size is as likely as another.
	// +optional
	Uniform *SizeRange `json:"uniform,omitempty"`
	// logNormal draws from a log-normal distribution that is cut off at its bounds.
	// +optional
	LogNormal *LogNormalSize `json:"logNormal,omitempty"`
}

// SizeRange is a range of sizes, both ends included.
type SizeRange struct {
	// min is the least size.
	// +required
	Min Quantity `json:"min"`
	// max is the greatest size, at most 5Gi.
	// +required
	Max Quantity `json:"max"`
}

// LogNormalSize is a log-normal distribution: the logarithm of the size is normal.
type LogNormalSize struct {
	// median of the distribution before it is cut off.
	// +required
	Median Quantity `json:"median"`
	// sigma is the standard deviation of the natural logarithm of the size.
	// +required
	Sigma Decimal `json:"sigma"`
	// min is the least size.
	// +required
	Min Quantity `json:"min"`
	// max is the greatest size, at most 5Gi.
	// +required
	Max Quantity `json:"max"`
}
