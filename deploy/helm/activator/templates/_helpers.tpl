{{- define "activator.name" -}}
{{- if contains "activator" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-activator{{ end }}
{{- end }}

{{- define "activator.selector" -}}
app.kubernetes.io/name: activator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "activator.labels" -}}
{{ include "activator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "activator.redis.selector" -}}
app.kubernetes.io/name: activator-redis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "activator.adminSecret" -}}
{{ .Values.adminTokenSecret | default (printf "%s-admin" (include "activator.name" .)) }}
{{- end }}

{{- /* The configuration with what the chart decides in it. */ -}}
{{- define "activator.config" -}}
{{- $ours := dict
  "server" (dict "listen" "0.0.0.0:8080" "admin" "0.0.0.0:9090")
  "store" (dict "url" "${STORE_URL}")
  "auth" (dict "adminTokenFile" "/etc/activator/admin/token") -}}
{{ toYaml (mergeOverwrite (deepCopy .Values.config) $ours) }}
{{- end }}

{{- define "activator.rules" -}}
rules:
  {{- range .Values.rbac.workloads }}
  - apiGroups: [{{ .group | quote }}]
    resources: [{{ .resource }}]
    verbs: [get, list, watch, patch]
  - apiGroups: [{{ .group | quote }}]
    resources: [{{ .resource }}/scale]
    {{- /* of other kinds, the scale alone knows the pods' selector */}}
    verbs: {{ if eq .group "apps" }}[patch]{{ else }}[get, patch]{{ end }}
  {{- end }}
  - apiGroups: [""]
    resources: [pods]
    verbs: [list, watch, patch]
  - apiGroups: [""]
    resources: [pods/log]
    verbs: [get]
  - apiGroups: [""]
    resources: [events]
    verbs: [list, watch, create, patch]
  {{- if (.Values.config.sources).kubernetes }}
  - apiGroups: [""]
    resources: [services]
    verbs: [list, watch]
  {{- end }}
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [list, watch]
{{- end }}

{{- define "activator.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
