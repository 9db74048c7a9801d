//go:build tools

package bench

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
