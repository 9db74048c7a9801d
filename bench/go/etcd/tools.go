//go:build tools

package bench

import _ "go.etcd.io/etcd/server/v3"
