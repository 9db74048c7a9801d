//go:build tools

package bench

import _ "github.com/versity/versitygw/cmd/versitygw"
