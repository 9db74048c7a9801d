{{/* CLI, admission policies and RoleBindings in opted-in namespaces know this name. */}}
{{- define "selfheal.namespace" -}}selfheal-system{{- end }}

{{/* Labels of everything; give (list $ "component"). */}}
{{- define "selfheal.labels" -}}
{{- $root := index . 0 -}}
{{ include "selfheal.selector" . }}
app.kubernetes.io/part-of: selfheal
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* Labels that tell one component's pods; they never change. */}}
{{- define "selfheal.selector" -}}
app.kubernetes.io/name: selfheal
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image by digest, or by tag; give (list $ "controller"). */}}
{{- define "selfheal.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "selfheal.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Of a pod; users and groups are the namespace's to give. */}}
{{- define "selfheal.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "selfheal.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods go; give controller's or the endpoint's values. */}}
{{- define "selfheal.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Replicas on different nodes where there are several; give (list $ "component"). */}}
{{- define "selfheal.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "selfheal.selector" . | nindent 8 }}
{{- end }}

{{/* Where we are, and how metrics are read, as environment variables. */}}
{{- define "selfheal.prometheusEnv" -}}
- name: SELFHEAL_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with .Values.prometheus }}
{{- if .url }}
- {name: SELFHEAL_PROMETHEUS_URL, value: {{ .url | quote }}}
{{- end }}
{{- if .serviceAccountToken }}
- {name: SELFHEAL_PROMETHEUS_TOKEN_FILE, value: /var/run/secrets/kubernetes.io/serviceaccount/token}
{{- end }}
{{- if .ca.configMap }}
- {name: SELFHEAL_PROMETHEUS_CA_FILE, value: /etc/selfheal/prometheus-ca/ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{/* Certificate authorities, of "prometheus" or "endpoint": a volume and its mount. */}}
{{- define "selfheal.caMount" -}}
{{- if (index (index . 0).Values (index . 1)).ca.configMap }}
- {name: {{ index . 1 }}-ca, mountPath: /etc/selfheal/{{ index . 1 }}-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "selfheal.caVolume" -}}
{{- with (index (index . 0).Values (index . 1)).ca }}
{{- if .configMap }}
- name: {{ index $ 1 }}-ca
  configMap:
    name: {{ .configMap }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end }}

{{/* How the registry is reached, as a container's env and envFrom. */}}
{{- define "selfheal.mlflowEnv" -}}
- {name: MLFLOW_TRACKING_URI, value: {{ .Values.mlflow.trackingUri | quote }}}
{{- end }}

{{- define "selfheal.mlflowEnvFrom" -}}
{{- with .Values.mlflow.secret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* How the controller reaches the endpoint, as environment variables. */}}
{{- define "selfheal.endpointEnv" -}}
{{- with include "selfheal.endpointUrl" . }}
- {name: SELFHEAL_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- if .Values.endpoint.serviceAccountToken }}
- {name: SELFHEAL_ENDPOINT_TOKEN_FILE, value: /var/run/secrets/kubernetes.io/serviceaccount/token}
{{- end }}
{{- if .Values.endpoint.ca.configMap }}
- {name: SELFHEAL_ENDPOINT_CA_FILE, value: /etc/selfheal/endpoint-ca/ca.crt}
{{- end }}
{{- end }}

{{/* Whether there is an endpoint of ours to ask. */}}
{{- define "selfheal.servesModel" -}}
{{- if and .Values.endpoint.enabled (or .Values.mlflow.trackingUri (and .Values.endpoint.kserve.enabled .Values.endpoint.model.storageUri)) }}yes{{ end }}
{{- end }}

{{/* KServe's Service has port 80; a headless one has no ports of its own, and pods listen on 8080. */}}
{{- define "selfheal.endpointUrl" -}}
{{- if .Values.endpoint.url -}}
{{ .Values.endpoint.url }}
{{- else if and (include "selfheal.servesModel" .) .Values.endpoint.kserve.enabled -}}
http://selfheal-ensemble-predictor.{{ include "selfheal.namespace" . }}.svc{{ if .Values.endpoint.kserve.headless }}:8080{{ end }}
{{- else if include "selfheal.servesModel" . -}}
http://selfheal-ensemble.{{ include "selfheal.namespace" . }}.svc:8080
{{- end -}}
{{- end }}

{{/* With more than one replica of the endpoint, one at a time may be evicted. */}}
{{- define "selfheal.endpointBudget" -}}
{{- if and .Values.podDisruptionBudget.enabled (or .Values.endpoint.autoscaling.enabled (gt (int .Values.endpoint.replicas) 1)) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: selfheal-ensemble
  namespace: {{ include "selfheal.namespace" . }}
  labels: {{- include "selfheal.labels" (list . "endpoint") | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "selfheal.selector" (list . "endpoint") | nindent 6 }}
{{- end }}
{{- end }}

{{/* The endpoint's container; give (list $ name), and KServe wants its own name. */}}
{{- define "selfheal.endpointContainer" -}}
{{- $root := index . 0 -}}
{{- $model := $root.Values.endpoint.model -}}
name: {{ index . 1 }}
image: {{ include "selfheal.image" (list $root "serving") }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
securityContext: {{- include "selfheal.containerSecurity" $root | nindent 2 }}
{{- if $model.storageUri }}
args: [--model-dir=/mnt/models]
{{- else }}
args: [--model-uri={{ $model.uri }}, --reload-seconds={{ $model.reloadSeconds }}]
{{- end }}
env:
  {{- include "selfheal.mlflowEnv" $root | nindent 2 }}
  {{- with $root.Values.endpoint.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- include "selfheal.mlflowEnvFrom" $root }}
ports:
  - {name: http, containerPort: 8080, protocol: TCP}
# Nodes go on sending requests for a while after a pod is told to end: it answers them until they have heard of it.
lifecycle:
  preStop:
    exec: {command: [sleep, "10"]}
startupProbe:
  httpGet: {path: /v2/health/live, port: 8080}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /v2/health/live, port: 8080}
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /v2/health/ready, port: 8080}
  periodSeconds: 5
  timeoutSeconds: 5
resources: {{- toYaml $root.Values.endpoint.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end }}
