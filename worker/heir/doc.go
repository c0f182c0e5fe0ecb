// Package heir makes a process's death visible at once, however much memory it
// holds, without any privilege.
package heir
