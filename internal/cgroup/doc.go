// Package cgroup gives each worker a control group of version 2 (cgroups(7)).
// It needs no controllers, only the files that every group has: cgroup.procs,
// cgroup.kill and cgroup.events. A process can leave its process group and its
// session, but not its control group, so nothing that a worker forked can
// outlive it unseen.
//
// The groups are made below the one that this process is in:
//
//	<own>/understudy-<instance>/w-<n>
//
// That takes root or a delegated group (systemd: Delegate=yes), and Linux 5.14
// for cgroup.kill. Open says what is missing.
//
//	find.go   where our own group is: mounts and /proc/self/cgroup
//	tree.go   one supervisor's groups
//	group.go  one worker's group
package cgroup
