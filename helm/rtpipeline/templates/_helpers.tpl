{{- /* Names, labels and small pieces that several templates share. Argo's objects: _argo.tpl. */}}

{{- define "rtpipeline.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Reference of an image: (dict "root" $ "class" "cpu"). */}}
{{- define "rtpipeline.image" -}}
{{- $image := index .root.Values.images .class -}}
{{- with .root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "rtpipeline.pullSecrets" -}}
{{- range .Values.images.pullSecrets }}
- name: {{ . }}
{{- end }}
{{- end }}

{{- /* The folder of the stores within the bucket: empty, or ending in a slash. */}}
{{- define "rtpipeline.prefix" -}}
{{- with .Values.s3.prefix | trimAll "/" }}{{ . }}/{{ end -}}
{{- end }}

{{- /* The same as a URL. */}}
{{- define "rtpipeline.store" -}}
s3://{{ list .Values.s3.bucket (.Values.s3.prefix | trimAll "/") | compact | join "/" }}
{{- end }}

{{- /* host:port of the object store. */}}
{{- define "rtpipeline.s3.host" -}}
{{- get (urlParse .Values.s3.endpoint) "host" -}}
{{- end }}

{{- /* Port of the object store, that of the scheme where the URL names none. */}}
{{- define "rtpipeline.s3.port" -}}
{{- $port := regexFind ":[0-9]+$" (include "rtpipeline.s3.host" .) | trimPrefix ":" -}}
{{- $port | default (hasPrefix "http://" .Values.s3.endpoint | ternary "80" "443") -}}
{{- end }}

{{- define "rtpipeline.s3.caFolder" -}}/etc/rtpipeline/s3-ca{{- end }}

{{- /* Environment of a container that speaks S3 itself: (dict "root" $ "secret" $.Values.s3.readSecret). */}}
{{- define "rtpipeline.s3.env" -}}
{{- range $variable, $key := dict "AWS_ENDPOINT_URL" "endpoint" "AWS_DEFAULT_REGION" "region" "RTPIPELINE_S3_ADDRESSING" "addressing" }}
{{- if not (hasKey $.root.Values.pods.env $variable) }}
- name: {{ $variable }}
  valueFrom:
    configMapKeyRef: {name: rtpipeline-s3, key: {{ $key }}}
{{- end }}
{{- end }}
{{- if .root.Values.s3.caSecret.name }}
- {{- include "rtpipeline.s3.caVariable" . | nindent 2 }}
{{- end }}
{{- if not .root.Values.s3.instanceCredentials }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef: {name: {{ .secret.name }}, key: {{ .secret.accessKey }}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: {name: {{ .secret.name }}, key: {{ .secret.secretKey }}}
{{- end }}
{{- end }}

{{- define "rtpipeline.s3.caVariable" -}}
name: AWS_CA_BUNDLE
value: {{ include "rtpipeline.s3.caFolder" . }}/ca.crt
{{- end }}

{{- define "rtpipeline.s3.caVolume" -}}
{{- with .Values.s3.caSecret -}}
name: s3-ca
secret:
  secretName: {{ .name }}
  items:
    - key: {{ .key }}
      path: ca.crt
{{- end }}
{{- end }}

{{- define "rtpipeline.s3.caMount" -}}
name: s3-ca
mountPath: {{ include "rtpipeline.s3.caFolder" . }}
readOnly: true
{{- end }}

{{- /* What the level `restricted` of pod security asks of a pod and of a container. */}}
{{- define "rtpipeline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 8737
runAsGroup: 8737
fsGroup: 8737
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "rtpipeline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "rtpipeline.weights.claim" -}}
{{- eq .Values.weights.kind "claim" | ternary "rtpipeline-weights" .Values.weights.existingClaim.name -}}
{{- end }}

{{- /* Where the weights lie, as a volume. */}}
{{- define "rtpipeline.weights.volume" -}}
{{- $weights := .Values.weights -}}
name: weights
{{- if has $weights.kind (list "claim" "existingClaim") }}
persistentVolumeClaim:
  claimName: {{ include "rtpipeline.weights.claim" . }}
  readOnly: true
{{- else if eq $weights.kind "image" }}
image:
  reference: {{ $weights.image.reference }}
  pullPolicy: {{ $weights.image.pullPolicy }}
{{- else }}
emptyDir: {}
{{- end }}
{{- end }}

{{- define "rtpipeline.weights.subPath" -}}
{{- $weights := .Values.weights -}}
{{- if eq $weights.kind "existingClaim" }}{{ $weights.existingClaim.subPath | trimAll "/" }}{{ end -}}
{{- if eq $weights.kind "image" }}{{ $weights.image.subPath | trimAll "/" }}{{ end -}}
{{- end }}

{{- /* What the Job is told to fetch; its sha256 names the weights where no name is given. */}}
{{- define "rtpipeline.weights.fetch" -}}
{{- dict "files" .Values.weights.fetch.files "mirror" .Values.weights.fetch.mirror | toRawJson -}}
{{- end }}

{{- define "rtpipeline.weights.job" -}}
rtpipeline-weights-{{ print (include "rtpipeline.weights.fetch" .) (include "rtpipeline.weights.jobSpec" .) | sha256sum | trunc 8 }}
{{- end }}

{{- define "rtpipeline.weights.name" -}}
{{- $weights := .Values.weights -}}
{{- if $weights.name }}{{ $weights.name }}
{{- else if eq $weights.kind "none" }}none
{{- else if eq $weights.kind "image" }}{{ list $weights.image.reference (include "rtpipeline.weights.subPath" .) | compact | join "/" }}
{{- else if $weights.fetch.enabled }}fetched-{{ include "rtpipeline.weights.fetch" . | sha256sum | trunc 12 }}
{{- else if eq $weights.kind "existingClaim" }}{{ list $weights.existingClaim.name (include "rtpipeline.weights.subPath" .) | compact | join "/" }}
{{- else }}rtpipeline-weights
{{- end }}
{{- end }}
