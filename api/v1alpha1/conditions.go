package v1alpha1

// Condition types. kstatus reads Ready, Reconciling and Stalled; Reconciling and Stalled are present only while true.
const (
	// ConditionReady says that the object is what its spec asks for. It is on every kind.
	ConditionReady = "Ready"
	// ConditionReconciling says that work goes on. It is on every kind, and only while true.
	ConditionReconciling = "Reconciling"
	// ConditionStalled says that nothing more happens until a person acts, or that the run ended without success.
	// It is on every kind, and only while true.
	ConditionStalled = "Stalled"
	// ConditionSynced says whether the last look at the site was good. It is on Site and SlurmJob.
	ConditionSynced = "Synced"
	// ConditionComplete says that the run ended, however it ended. It is on Benchmark, LoadClient and SlurmJob.
	ConditionComplete = "Complete"
	// ConditionSucceeded says how the run ended. It is on Benchmark, LoadClient and SlurmJob.
	ConditionSucceeded = "Succeeded"

	// ConditionReachable says that the site answers; on a Service with readiness.tunnel, that its server answers from outside
	// the site. It is on Site and Service.
	ConditionReachable = "Reachable"
	// ConditionCredentialsValid says that the site accepts our credentials. It is on Site.
	ConditionCredentialsValid = "CredentialsValid"

	// ConditionSubmitted says that the batch system holds the job. It is on SlurmJob.
	ConditionSubmitted = "Submitted"
	// ConditionScheduled says that the batch system gave the job its nodes. It is on SlurmJob.
	ConditionScheduled = "Scheduled"
	// ConditionRunning says that the job runs. It is on SlurmJob.
	ConditionRunning = "Running"

	// ConditionMonitored says that at least 95 % of the scrapes were good. It is on Service and Benchmark.
	ConditionMonitored = "Monitored"
	// ConditionSound says that the client did not limit the result. It is on LoadClient.
	ConditionSound = "Sound"
	// ConditionImagesReady says that the images of the services are in the site's store. It is on Benchmark when a service
	// has one from a registry.
	ConditionImagesReady = "ImagesReady"
	// ConditionServicesReady says that every service is ready. It is on Benchmark.
	ConditionServicesReady = "ServicesReady"
	// ConditionLoadComplete says that every client ended its last repeat. It is on Benchmark.
	ConditionLoadComplete = "LoadComplete"
	// ConditionSLOMet says whether every SLO holds. It is on Benchmark when it has SLOs.
	ConditionSLOMet = "SLOMet"
)

// Reasons of Succeeded, and of Stalled and Ready once a run ended without success.
const (
	// ReasonPassed: the run ended as planned and every SLO holds.
	ReasonPassed = "Passed"
	// ReasonSLOViolated: the run ended as planned and an SLO does not hold.
	ReasonSLOViolated = "SLOViolated"
	// ReasonUndecided: the run ended as planned with too few requests to decide an SLO.
	ReasonUndecided = "Undecided"
	// ReasonMeasurementInvalid: the client, not the server, limited the result.
	ReasonMeasurementInvalid = "MeasurementInvalid"
	// ReasonPartial: an instance or a repeat is missing from the result.
	ReasonPartial = "Partial"
	// ReasonFailed: the run ended with an error, or its abort threshold ended it.
	ReasonFailed = "Failed"
	// ReasonAborted: a person ended the run.
	ReasonAborted = "Aborted"
	// ReasonTimedOut: the run did not end within its time.
	ReasonTimedOut = "TimedOut"
)

// Reasons of Ready, Reconciling and Stalled while a run is under way or was refused.
const (
	// ReasonSuspended: spec.suspend is true, or the site has suspended the job.
	ReasonSuspended = "Suspended"
	// ReasonProgressing: work goes on.
	ReasonProgressing = "Progressing"
	// ReasonDeleting: the object is being deleted and waits for what it started to end.
	ReasonDeleting = "Deleting"
	// ReasonEnded: the run of this service ended as planned.
	ReasonEnded = "Ended"
	// ReasonHostAccessRefused: the site runs commands on the operator's host and the operator was not started with --allow-host-sites.
	ReasonHostAccessRefused = "HostAccessRefused"
	// ReasonInvalidParameters: a parameter that admission cannot check is wrong.
	ReasonInvalidParameters = "InvalidParameters"
	// ReasonSiteMissing: the Site that spec.site names does not exist, or a Service or LoadClient of its own names none.
	ReasonSiteMissing = "SiteMissing"
	// ReasonTargetMissing: the Service that a LoadClient targets does not exist.
	ReasonTargetMissing = "TargetMissing"
	// ReasonInUse: a Site is being deleted while SlurmJobs refer to it.
	ReasonInUse = "InUse"
	// ReasonSiteBusy: a SlurmJob waits for its turn under the Site's limits, or the batch system takes no such job now.
	ReasonSiteBusy = "SiteBusy"
	// ReasonBudgetExceeded: a SlurmJob asks for more GPU-hours than are left of the Site's limits.
	ReasonBudgetExceeded = "BudgetExceeded"
)

// Reasons of Synced and Reachable.
const (
	// ReasonSiteAnswers: the last look at the site was good.
	ReasonSiteAnswers = "SiteAnswers"
	// ReasonSiteUnreachable: the last look at the site failed; nothing is concluded from it.
	ReasonSiteUnreachable = "SiteUnreachable"
	// ReasonWorkDirUnusable: the work folder is missing, not writable, or open to other users.
	ReasonWorkDirUnusable = "WorkDirUnusable"
	// ReasonHostKeyRefused: a host of the site has another key than the pinned one, or none is pinned.
	ReasonHostKeyRefused = "HostKeyRefused"
	// ReasonCredentialsRefused: the site did not take the credentials, or they cannot be read.
	ReasonCredentialsRefused = "CredentialsRefused"
	// ReasonCredentialsExpire: the site takes the credentials, which end soon unless somebody renews them.
	ReasonCredentialsExpire = "CredentialsExpire"
	// ReasonNoCredentialsNeeded: the site is this host.
	ReasonNoCredentialsNeeded = "NoCredentialsNeeded"
)

// Reasons of Reachable of a Service, beside SiteUnreachable, Waiting and Ended.
const (
	// ReasonServiceAnswers: the server answers from outside its site.
	ReasonServiceAnswers = "ServiceAnswers"
	// ReasonServiceSilent: the login node answers and does not reach the server, or the server does not answer.
	ReasonServiceSilent = "ServiceSilent"
	// ReasonUnexpectedAnswer: what answers does not answer as the probe wants it to.
	ReasonUnexpectedAnswer = "UnexpectedAnswer"
	// ReasonForwardingRefused: the login node passes no connections on.
	ReasonForwardingRefused = "ForwardingRefused"
	// ReasonNoTunnel: the Site has no SSH connection.
	ReasonNoTunnel = "NoTunnel"
)

// Reasons of Submitted, Scheduled and Running, and of a SlurmJob that ended without success.
const (
	// ReasonIntended: the attempt is stored and not yet with the batch system.
	ReasonIntended = "Intended"
	// ReasonUncertain: the answer to a submit was lost; the bridge looks before it acts.
	ReasonUncertain = "Uncertain"
	// ReasonSubmitted: the batch system holds the job.
	ReasonSubmitted = "Submitted"
	// ReasonSubmitRefused: the batch system refused the job.
	ReasonSubmitRefused = "SubmitRefused"
	// ReasonQueued: the job waits; the message is the batch system's own word.
	ReasonQueued = "Queued"
	// ReasonUnschedulable: the job waits for what never comes, such as a QOS that it may not use.
	ReasonUnschedulable = "Unschedulable"
	// ReasonRunning: the job runs.
	ReasonRunning = "Running"
	// ReasonCompleted: the job ended with exit code 0.
	ReasonCompleted = "Completed"
	// ReasonLost: the batch system does not know the job any more, in three good answers over a grace period.
	ReasonLost = "Lost"
	// ReasonRequeued: the batch system started the job again; a measurement is never resumed.
	ReasonRequeued = "Requeued"
	// ReasonTimeLimit: the job reached its time limit.
	ReasonTimeLimit = "TimeLimit"
	// ReasonCancelled: the job was cancelled.
	ReasonCancelled = "Cancelled"
	// ReasonNonZeroExit: the job ended with an exit code other than 0.
	ReasonNonZeroExit = "NonZeroExit"
	// ReasonNodeFailure: a node failed.
	ReasonNodeFailure = "NodeFailure"
	// ReasonImagesPresent: every image is in the site's store.
	ReasonImagesPresent = "ImagesPresent"
	// ReasonImageMissing: an image is not in the site's store, and the Site wants nothing pulled.
	ReasonImageMissing = "ImageMissing"
	// ReasonPulling: images are pulled into the site's store.
	ReasonPulling = "Pulling"
	// ReasonBootFailure: a node did not come up for the job.
	ReasonBootFailure = "BootFailure"
	// ReasonPreempted: the site gave the nodes to another job.
	ReasonPreempted = "Preempted"
	// ReasonLaunchFailure: a node could not start the job; often its prolog failed.
	ReasonLaunchFailure = "LaunchFailure"
	// ReasonRetryWaits: the attempt before was ended by the site, and the next one follows after a pause.
	ReasonRetryWaits = "RetryWaits"
)

// Reasons of Monitored, Sound, ServicesReady, LoadComplete, SLOMet.
const (
	// ReasonCoverage: the share of good scrapes, in the message.
	ReasonCoverage = "Coverage"
	// ReasonLowCoverage: fewer than 95 % of the scrapes were good.
	ReasonLowCoverage = "LowCoverage"
	// ReasonNoTargets: there is nothing to scrape.
	ReasonNoTargets = "NoTargets"
	// ReasonClientLimited: the client limited the result; the message names the limit.
	ReasonClientLimited = "ClientLimited"
	// ReasonWithinLimits: the client's self-audit is within its limits.
	ReasonWithinLimits = "WithinLimits"
	// ReasonStarting: a service starts.
	ReasonStarting = "Starting"
	// ReasonProbesPassed: every probe of the service passed.
	ReasonProbesPassed = "ProbesPassed"
	// ReasonReadinessTimeout: a service did not get ready in time.
	ReasonReadinessTimeout = "ReadinessTimeout"
	// ReasonServiceDied: a service ended while it was needed.
	ReasonServiceDied = "ServiceDied"
	// ReasonWaiting: something else comes first; the message names it.
	ReasonWaiting = "Waiting"
	// ReasonMeasuring: load runs.
	ReasonMeasuring = "Measuring"
)

// Labels, annotations, finalizers and field owners.
const (
	// LabelBenchmark names the Benchmark that an object belongs to.
	LabelBenchmark = "assay.bench/benchmark"
	// LabelRun names the run that an object belongs to.
	LabelRun = "assay.bench/run"
	// LabelComponent is a Service's or LoadClient's name within its run: the folder name below the attempt.
	LabelComponent = "assay.bench/component"
	// LabelOwnerKind and LabelOwnerName name the Service or LoadClient that made its own SlurmJob.
	LabelOwnerKind = "assay.bench/owner-kind"
	// LabelOwnerName goes with LabelOwnerKind.
	LabelOwnerName = "assay.bench/owner-name"

	// AnnotationAbandon set to "true" lets a deletion finish without proof that the jobs are gone.
	AnnotationAbandon = "assay.bench/abandon"
	// AnnotationTimeScale multiplies warm-up, duration and cool-down of the next run; its result is never a baseline.
	AnnotationTimeScale = "assay.bench/time-scale"
	// AnnotationSpecHash on the SlurmJob of a Service or LoadClient of its own is the SHA-256 of the spec that it was
	// made from: another spec makes another job.
	AnnotationSpecHash = "assay.bench/spec-hash"

	// FinalizerChildren is on a Benchmark, and on a Service or LoadClient that made its own SlurmJob.
	FinalizerChildren = "assay.bench/children"
	// FinalizerJobs is on a SlurmJob.
	FinalizerJobs = "assay.bench/jobs"
	// FinalizerInUse is on a Site.
	FinalizerInUse = "assay.bench/in-use"
)
