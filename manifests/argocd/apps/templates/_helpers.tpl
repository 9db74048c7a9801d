{{/* What every Application of ours has; give (list $ "name" "wave" "component"). None has a finalizer: who deletes an
     Application, or turns a service off, keeps what it made. */}}
{{- define "apps.metadata" -}}
name: {{ index . 1 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  app.kubernetes.io/name: selfheal
  app.kubernetes.io/component: {{ index . 3 }}
  app.kubernetes.io/part-of: selfheal
annotations:
  argocd.argoproj.io/sync-wave: {{ index . 2 | quote }}
{{- end }}

{{/* Where it comes from; give (list $ "path"). */}}
{{- define "apps.source" -}}
repoURL: {{ (index . 0).Values.repoURL | quote }}
targetRevision: {{ (index . 0).Values.targetRevision | quote }}
path: {{ index . 1 }}
{{- end }}

{{/* What is missing today may come tomorrow: a failed sync is tried again for as long as it takes. */}}
{{- define "apps.retry" -}}
retry:
  limit: -1
  backoff: {duration: 5s, factor: 2, maxDuration: 3m}
{{- end }}

{{/* Whether this is OpenShift. */}}
{{- define "apps.openshift" -}}
{{- if .Capabilities.APIVersions.Has "config.openshift.io/v1" }}yes{{ end }}
{{- end }}

{{/* What the chart is told last: on OpenShift KServe where it is there, and whatever people want. */}}
{{- define "apps.values" -}}
{{- $values := deepCopy .Values.values }}
{{- if include "apps.openshift" . }}
{{- $kserve := .Capabilities.APIVersions.Has "serving.kserve.io/v1beta1/InferenceService" }}
{{- $values = mergeOverwrite (dict "endpoint" (dict "kserve" (dict "enabled" $kserve))) $values }}
{{- end }}
{{- toYaml $values }}
{{- end }}

{{/* What has to be there before pipelines run on a server of their own. */}}
{{- define "apps.pipelinesKind" -}}
datasciencepipelinesapplications.opendatahub.io/v1/DataSciencePipelinesApplication
{{- end }}
