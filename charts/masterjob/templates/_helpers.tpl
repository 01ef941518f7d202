{{- define "masterjob.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "masterjob.fullname" -}}
{{- $name := include "masterjob.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* The name of cluster-scoped objects: other namespaces may have a release of the same name. */}}
{{- define "masterjob.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "masterjob.fullname" .) }}
{{- end }}

{{- define "masterjob.selectorLabels" -}}
app.kubernetes.io/name: {{ include "masterjob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "masterjob.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "masterjob.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "masterjob.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "masterjob.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create is false: set serviceAccount.name to the account of the pods" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "masterjob.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The followed namespaces as a JSON list; an empty list means all. */}}
{{- define "masterjob.namespaces" -}}
{{- if .Values.watch.all }}[]
{{- else }}{{ .Values.watch.namespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}
{{- end }}

{{- define "masterjob.config" -}}
masterJobExecutor:
  {{- toYaml .Values.config | nindent 2 }}
jobs:
  {{- toYaml .Values.jobs | nindent 2 }}
{{- end }}

{{/* A duration such as 1m30s, in milliseconds. */}}
{{- define "masterjob.milliseconds" -}}
{{- $units := dict "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9.]+[a-z]+" . -1 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $units $unit)) }}
{{- end }}
{{- $sum | ceil | int64 }}
{{- end }}

{{/* The longest stop timeout, 5 s for releases, 5 s for the last statuses, and 5 s in reserve. */}}
{{- define "masterjob.grace" -}}
{{- $longest := include "masterjob.milliseconds" (default "2s" .Values.config.stopTimeout) | int64 }}
{{- range .Values.masterJobs }}
{{- $longest = max $longest (include "masterjob.milliseconds" (default "0s" .stopTimeout) | int64) }}
{{- end }}
{{- .Values.terminationGracePeriodSeconds | default (add 15 (divf $longest 1000 | ceil | int64)) }}
{{- end }}

{{/* Refuse impossible combinations of values, and say why. */}}
{{- define "masterjob.check" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.database.existingSecret) }}
{{- fail (printf "replicaCount is %d, but without database.existingSecret the database is SQLite, which is for one pod: set database.existingSecret to a Secret with the URL of a PostgreSQL, MariaDB or MySQL database" (int .Values.replicaCount)) }}
{{- end }}
{{- if and .Values.persistence.enabled .Values.database.existingSecret }}
{{- fail "persistence.enabled is for SQLite, but database.existingSecret names a database server: set only one of them" }}
{{- end }}
{{- if and .Values.watch.all .Values.watch.namespaces }}
{{- fail "watch.all and watch.namespaces exclude each other: set only one of them" }}
{{- end }}
{{- if and .Values.masterJobs .Values.watch.namespaces (not (has .Release.Namespace .Values.watch.namespaces)) }}
{{- fail (printf "masterJobs are created in the namespace %s, which watch.namespaces does not contain: add it there" .Release.Namespace) }}
{{- end }}
{{- if .Values.api.enabled }}
{{- if ne (eq .Values.api.auth "token") (not (empty .Values.api.tokensSecret)) }}
{{- fail "api.auth token needs api.tokensSecret, and api.tokensSecret needs api.auth token" }}
{{- end }}
{{- if eq (int .Values.api.port) (int .Values.probes.port) }}
{{- fail "api.port and probes.port must differ" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the Secret with the database's URL is mounted as a file. */}}
{{- define "masterjob.databaseAsFile" -}}
{{- if and .Values.database.existingSecret .Values.database.asFile }}true{{ end }}
{{- end }}
