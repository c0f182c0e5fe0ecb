// Package fault lets tests make one system call of the core fail, once, by its
// label. Without the build tag "faults" At is a constant 0, which the compiler
// drops together with what hangs on it.
//
// With the tag, the environment variable Variable names a folder. A file there
// with the name of a label arms it; it holds the number of the errno. Whoever
// comes first to that call takes the file away and fails. So a fault can be
// armed at any time, for one process or for many that share the folder, and
// fires once. What was reached is noted in the folder reached below it.
package fault

import "golang.org/x/sys/unix"

// Label names one system call, or one thing that can get lost.
type Label string

// Variable is the environment variable with the folder of the faults. Workers
// have it only from their manifest.
const Variable = "FAULTS_DIR"

// The labels: the room, the thing, the system call.
const (
	ClientSend  Label = "takeover.client.sendmsg" // a command
	EngineRecv  Label = "takeover.engine.recvmsg"
	EngineCut   Label = "takeover.engine.recvmsg.truncated" // the descriptors beside a command
	EngineWatch Label = "takeover.engine.watch.epoll_ctl"
	EngineKill  Label = "takeover.engine.condemn.pidfd_send_signal"
	EngineDoom  Label = "takeover.engine.doom.sendto"
	EngineProcs Label = "takeover.engine.forks.pread"
	EngineTell  Label = "takeover.engine.report.send"
	EngineTimer Label = "takeover.engine.delay.timerfd_settime"
	Activate    Label = "takeover.activate.sendmsg"

	ControlSend Label = "control.sendmsg"
	ControlRecv Label = "control.recvmsg"
	ControlCut  Label = "control.recvmsg.truncated"
	ControlPair Label = "control.socketpair"
	ControlDup  Label = "control.fcntl"

	CgroupMake  Label = "cgroup.mkdir"
	CgroupOpen  Label = "cgroup.open"
	CgroupKill  Label = "cgroup.kill.write"
	CgroupRmdir Label = "cgroup.rmdir"

	EpochsWrite   Label = "epochs.write"
	EpochsSync    Label = "epochs.fsync"
	EpochsRename  Label = "epochs.rename"
	EpochsDirSync Label = "epochs.directory.fsync"

	SegmentsWrite   Label = "segments.write"
	SegmentsSync    Label = "segments.fsync"
	SegmentsRename  Label = "segments.rename"
	SegmentsDirSync Label = "segments.directory.fsync"
	SegmentsMemfd   Label = "segments.memfd_create"
	SegmentsNamed   Label = "segments.open"

	SpawnFork      Label = "pool.spawn.fork"
	SpawnDoom      Label = "pool.spawn.socketpair"
	HeirPidfd      Label = "pool.heir.pidfd_open"
	EndpointBind   Label = "isolation.endpoint.bind"
	EndpointListen Label = "isolation.endpoint.listen"
	EndpointSocket Label = "isolation.endpoint.socket"
	EndpointUnlink Label = "isolation.endpoint.unlink"

	// An event of the engine that gets lost on its way.
	LostHello     Label = lost + "hello"
	LostNotice    Label = lost + "notice"
	LostActivated Label = lost + "activated"
	LostWaiting   Label = lost + "waiting"
	LostWithdrawn Label = lost + "withdrawn"
	LostLost      Label = lost + "lost"
	LostDisarmed  Label = lost + "disarmed"
	LostRefused   Label = lost + "refused"
	LostPong      Label = lost + "pong"
	LostRepaired  Label = lost + "repaired"
	LostRejected  Label = lost + "rejected"
	LostRetrying  Label = lost + "retrying"
)

const lost = "takeover.event.lost."

// Lost is the label of the events of a kind, by its name.
func Lost(kind string) Label { return Label(lost + kind) }

// labels are all of them, with what they fail with unless a test says else.
var labels = []struct {
	label Label
	errno unix.Errno
}{
	{ClientSend, unix.ETOOMANYREFS},
	{EngineRecv, unix.ENOMEM},
	{EngineCut, unix.EMFILE},
	{EngineWatch, unix.ENOSPC},
	{EngineKill, unix.EPERM},
	{EngineDoom, unix.EAGAIN},
	{EngineProcs, unix.ENODEV},
	{EngineTell, unix.ENOBUFS},
	{EngineTimer, unix.EINVAL},
	{Activate, unix.ENOBUFS},
	{ControlSend, unix.ENOBUFS},
	{ControlRecv, unix.ENOMEM},
	{ControlCut, unix.EMFILE},
	{ControlPair, unix.EMFILE},
	{ControlDup, unix.EMFILE},
	{CgroupMake, unix.ENOSPC},
	{CgroupOpen, unix.EMFILE},
	{CgroupKill, unix.ENODEV},
	{CgroupRmdir, unix.EBUSY},
	{EpochsWrite, unix.ENOSPC},
	{EpochsSync, unix.EIO},
	{EpochsRename, unix.EIO},
	{EpochsDirSync, unix.EIO},
	{SegmentsWrite, unix.ENOSPC},
	{SegmentsSync, unix.EIO},
	{SegmentsRename, unix.EIO},
	{SegmentsDirSync, unix.EIO},
	{SegmentsMemfd, unix.ENFILE},
	{SegmentsNamed, unix.ENOSPC},
	{SpawnFork, unix.EAGAIN},
	{SpawnDoom, unix.EMFILE},
	{HeirPidfd, unix.EMFILE},
	{EndpointBind, unix.EADDRINUSE},
	{EndpointListen, unix.EADDRINUSE},
	{EndpointSocket, unix.EMFILE},
	{EndpointUnlink, unix.EPERM},
	{LostHello, unix.ENOBUFS},
	{LostNotice, unix.ENOBUFS},
	{LostActivated, unix.ENOBUFS},
	{LostWaiting, unix.ENOBUFS},
	{LostWithdrawn, unix.ENOBUFS},
	{LostLost, unix.ENOBUFS},
	{LostDisarmed, unix.ENOBUFS},
	{LostRefused, unix.ENOBUFS},
	{LostPong, unix.ENOBUFS},
	{LostRepaired, unix.ENOBUFS},
	{LostRejected, unix.ENOBUFS},
	{LostRetrying, unix.ENOBUFS},
}

// All returns every label.
func All() []Label {
	all := make([]Label, len(labels))
	for i := range labels {
		all[i] = labels[i].label
	}
	return all
}

// Do calls f, unless the label says that it shall fail.
func Do(l Label, f func() error) error {
	if err := Error(l); err != nil {
		return err
	}
	return f()
}

// Error is At as an error, nil where nothing fails.
func Error(l Label) error {
	if errno := At(l); errno != 0 {
		return errno
	}
	return nil
}
