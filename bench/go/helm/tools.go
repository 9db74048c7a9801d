//go:build tools

package bench

import _ "helm.sh/helm/v3/cmd/helm"
