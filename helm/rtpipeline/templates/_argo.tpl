{{- /*
Argo's objects come ready from `files/` (rendered from the stage table by `python -m workflows.render`). Their expressions
`{{=...}}` would not survive Go's templates, so they are read as data, the values are set on the parsed objects, and the
result is printed. A template is known by its labels: rtpipeline/stage, rtpipeline/image (cpu or gpu).

Helpers here change the object that they are given and print nothing.
*/}}

{{- /* One object with all values set, as YAML: (dict "root" $ "path" "files/x.yaml"). */}}
{{- define "rtpipeline.argo" -}}
{{- $root := .root -}}
{{- $object := $root.Files.Get .path | fromYaml -}}
{{- if not (and (hasKey $object "kind") (hasKey $object "spec")) }}{{ fail (printf "%s is no object of Argo: %s" .path (toString $object.Error)) }}{{ end -}}
{{- $isCron := eq $object.kind "CronWorkflow" -}}
{{- $_ := include "rtpipeline.argo.metadata" (dict "root" $root "metadata" $object.metadata) -}}
{{- $spec := $object.spec -}}
{{- if $isCron -}}
  {{- $spec = $object.spec.workflowSpec -}}
  {{- $_ := set $object.spec "schedules" (list $root.Values.discover.schedule) -}}
  {{- $_ := set $object.spec "timezone" $root.Values.discover.timezone -}}
  {{- $_ := set $object.spec "suspend" $root.Values.discover.suspend -}}
{{- end -}}
{{- $_ := include "rtpipeline.argo.spec" (dict "root" $root "spec" $spec "isCron" $isCron) -}}
{{- range $template := $spec.templates -}}
  {{- if $template.container -}}
    {{- $_ := include "rtpipeline.argo.template" (dict "root" $root "template" $template) -}}
  {{- else if and $template.dag $template.parallelism -}}
    {{- $_ := set $template "parallelism" (int $root.Values.workflows.courses) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $object -}}
{{- end }}

{{- define "rtpipeline.argo.metadata" -}}
{{- $labels := include "rtpipeline.labels" .root | fromYaml -}}
{{- $_ := set .metadata "labels" (merge $labels (.metadata.labels | default dict)) -}}
{{- $images := dict "rtpipeline/cpu-image" (include "rtpipeline.image" (dict "root" .root "class" "cpu")) "rtpipeline/gpu-image" (include "rtpipeline.image" (dict "root" .root "class" "gpu")) -}}
{{- $annotations := merge $images (dict "rtpipeline/weights" (include "rtpipeline.weights.name" .root)) (.metadata.annotations | default dict) -}}
{{- $_ := set .metadata "annotations" $annotations -}}
{{- end }}

{{- /* What concerns the whole workflow. */}}
{{- define "rtpipeline.argo.spec" -}}
{{- $root := .root -}}{{- $values := .root.Values -}}{{- $spec := .spec -}}
{{- $workflows := $values.workflows -}}
{{- $_ := set $spec "parallelism" (int $workflows.parallelism) -}}
{{- $_ := set $spec "activeDeadlineSeconds" (int $workflows.deadlineSeconds) -}}
{{- $_ := set $spec "ttlStrategy" (dict "secondsAfterSuccess" (int $workflows.secondsAfterSuccess) "secondsAfterFailure" (int $workflows.secondsAfterFailure)) -}}
{{- with $values.images.pullSecrets -}}
  {{- $_ := set $spec "imagePullSecrets" (include "rtpipeline.pullSecrets" $root | fromYamlArray) -}}
{{- end -}}
{{- with $values.pods.priorityClassName }}{{ $_ := set $spec "podPriorityClassName" . }}{{ end -}}
{{- $pods := $spec.podMetadata | default dict -}}
{{- with $values.pods.labels }}{{ $_ := set $pods "labels" (merge (deepCopy .) ($pods.labels | default dict)) }}{{ end -}}
{{- with $values.pods.annotations }}{{ $_ := set $pods "annotations" (merge (deepCopy .) ($pods.annotations | default dict)) }}{{ end -}}
{{- if $pods }}{{ $_ := set $spec "podMetadata" $pods }}{{ end -}}
{{- if and $values.argo.hideToken (not .isCron) -}}
  {{- $_ := set $spec "automountServiceAccountToken" false -}}
  {{- $_ := set $spec "executor" (dict "serviceAccountName" $spec.serviceAccountName) -}}
{{- end -}}
{{- $defaults := dict "store" (include "rtpipeline.store" $root) "prefix" (include "rtpipeline.prefix" $root) -}}
{{- if .isCron -}}
  {{- $inbox := $values.discover.inbox | default (printf "%sinbox" (include "rtpipeline.prefix" $root)) -}}
  {{- $_ := set $defaults "inbox" (printf "s3://%s/%s" $values.s3.bucket (trimAll "/" $inbox)) -}}
  {{- $_ := set $defaults "configuration" $values.discover.configuration -}}
{{- end -}}
{{- range $parameter := dig "arguments" "parameters" list $spec -}}
  {{- if hasKey $defaults $parameter.name }}{{ $_ := set $parameter "value" (get $defaults $parameter.name) }}{{ end -}}
{{- end -}}
{{- if $spec.volumes }}{{ $_ := include "rtpipeline.argo.volumes" (dict "root" $root "owner" $spec) }}{{ end -}}
{{- end }}

{{- /* What concerns one template with a container. */}}
{{- define "rtpipeline.argo.template" -}}
{{- $root := .root -}}{{- $values := .root.Values -}}{{- $template := .template -}}
{{- $container := $template.container -}}
{{- $labels := dig "metadata" "labels" dict $template -}}
{{- $class := get $labels "rtpipeline/image" | default "cpu" -}}
{{- $stage := get $labels "rtpipeline/stage" -}}
{{- $override := get $values.stages $stage | default dict -}}
{{- $_ := set $container "image" (include "rtpipeline.image" (dict "root" $root "class" $class)) -}}
{{- $_ := set $container "imagePullPolicy" $values.images.pullPolicy -}}
{{- $placement := merge (pick $override "nodeSelector" "tolerations") (pick (index $values.pods $class) "nodeSelector" "tolerations") -}}
{{- range $field := list "nodeSelector" "tolerations" -}}
  {{- with get $placement $field }}{{ $_ := set $template $field . }}{{ else }}{{ $_ := unset $template $field }}{{ end -}}
{{- end -}}
{{- $_ := include "rtpipeline.argo.environment" (dict "root" $root "template" $template) -}}
{{- if $template.volumes }}{{ $_ := include "rtpipeline.argo.volumes" (dict "root" $root "owner" $template) }}{{ end -}}
{{- $_ := include "rtpipeline.argo.mounts" (dict "root" $root "container" $container) -}}
{{- $_ := include "rtpipeline.argo.resources" (dict "root" $root "template" $template "class" $class "override" $override) -}}
{{- with $override.timeoutSeconds }}{{ $_ := set $template "activeDeadlineSeconds" (int .) }}{{ end -}}
{{- $_ := include "rtpipeline.argo.inputs" (dict "root" $root "template" $template) -}}
{{- $_ := include "rtpipeline.argo.patch" (dict "root" $root "template" $template "class" $class "override" $override "stage" $stage) -}}
{{- end }}

{{- /* By these names the facts about images and weights are found again: as the annotations of the templates say them. */}}
{{- define "rtpipeline.argo.inputs" -}}
{{- $root := .root -}}
{{- range $parameter := dig "inputs" "parameters" list .template -}}
  {{- if eq $parameter.name "cpu_image" }}{{ $_ := set $parameter "value" (include "rtpipeline.image" (dict "root" $root "class" "cpu")) }}{{ end -}}
  {{- if eq $parameter.name "gpu_image" }}{{ $_ := set $parameter "value" (include "rtpipeline.image" (dict "root" $root "class" "gpu")) }}{{ end -}}
  {{- if eq $parameter.name "weights" }}{{ $_ := set $parameter "value" (include "rtpipeline.weights.name" $root) }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* Variables from the readers' secret and from values; the certificates of the object store's authority. */}}
{{- define "rtpipeline.argo.environment" -}}
{{- $root := .root -}}{{- $values := .root.Values -}}{{- $template := .template -}}{{- $container := .template.container -}}
{{- $kept := list -}}{{- $isReader := false -}}
{{- range $variable := $container.env | default list -}}
  {{- $secret := dig "valueFrom" "secretKeyRef" dict $variable -}}
  {{- if eq (dig "valueFrom" "configMapKeyRef" "name" "" $variable) "rtpipeline-s3" }}{{ $isReader = true }}{{ end -}}
  {{- $owner := get (dict "rtpipeline-s3-read" $values.s3.readSecret "rtpipeline-s3" $values.s3.existingSecret) ($secret.name | default "") -}}
  {{- if hasKey $values.pods.env $variable.name -}}
    {{- /* said again below, and Kubernetes takes a name once */ -}}
  {{- else if not $owner -}}
    {{- $kept = append $kept $variable -}}
  {{- else if not $values.s3.instanceCredentials -}}
    {{- $_ := set $secret "key" (get $owner $secret.key) -}}
    {{- $_ := set $secret "name" $owner.name -}}
    {{- $kept = append $kept $variable -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := $values.pods.env }}{{ $kept = append $kept (dict "name" $name "value" $value) }}{{ end -}}
{{- if and $isReader $values.s3.caSecret.name -}}
  {{- $kept = append $kept (include "rtpipeline.s3.caVariable" $root | fromYaml) -}}
  {{- $_ := set $template "volumes" (append ($template.volumes | default list) (include "rtpipeline.s3.caVolume" $root | fromYaml)) -}}
  {{- $_ := set $container "volumeMounts" (append ($container.volumeMounts | default list) (include "rtpipeline.s3.caMount" $root | fromYaml)) -}}
{{- end -}}
{{- $_ := set $container "env" $kept -}}
{{- end }}

{{- /* The volumes of a workflow or a template: the weights, the secret of the pseudonyms. */}}
{{- define "rtpipeline.argo.volumes" -}}
{{- $root := .root -}}{{- $values := .root.Values -}}
{{- $volumes := list -}}
{{- range $volume := .owner.volumes -}}
  {{- if eq $volume.name "weights" -}}
    {{- $volume = include "rtpipeline.weights.volume" $root | fromYaml -}}
  {{- else if eq (dig "secret" "secretName" "" $volume) "rtpipeline-pseudonyms" -}}
    {{- $_ := set $volume.secret "secretName" $values.pseudonyms.existingSecret -}}
    {{- range $item := $volume.secret.items }}{{ $_ := set $item "key" $values.pseudonyms.key }}{{ end -}}
  {{- end -}}
  {{- $volumes = append $volumes $volume -}}
{{- end -}}
{{- $_ := set .owner "volumes" $volumes -}}
{{- end }}

{{- define "rtpipeline.argo.mounts" -}}
{{- $subPath := include "rtpipeline.weights.subPath" .root -}}
{{- range $mount := .container.volumeMounts | default list -}}
  {{- if and (eq $mount.name "weights") $subPath }}{{ $_ := set $mount "subPath" $subPath }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "rtpipeline.argo.resources" -}}
{{- $gpu := .root.Values.gpu -}}{{- $override := .override -}}{{- $class := .class -}}{{- $template := .template -}}
{{- $resources := $template.container.resources | default dict -}}
{{- range $side := list "requests" "limits" -}}
  {{- $amounts := get $resources $side | default dict -}}
  {{- with eq $side "limits" | ternary ($override.cpuLimit | default $override.cpu) $override.cpu }}{{ $_ := set $amounts "cpu" (toString .) }}{{ end -}}
  {{- with $override.memoryMiB }}{{ $_ := set $amounts "memory" (printf "%dMi" (first . | int)) }}{{ end -}}
  {{- with $override.diskMiB }}{{ $_ := set $amounts "ephemeral-storage" (printf "%dMi" (int .)) }}{{ end -}}
  {{- if hasKey $amounts "nvidia.com/gpu" -}}
    {{- $_ := unset $amounts "nvidia.com/gpu" -}}
    {{- if $gpu.count }}{{ $_ := set $amounts $gpu.resourceName (toString (int $gpu.count)) }}{{ end -}}
  {{- end -}}
  {{- if $amounts }}{{ $_ := set $resources $side $amounts }}{{ end -}}
{{- end -}}
{{- $_ := set $template.container "resources" $resources -}}
{{- range $volume := $template.volumes | default list -}}
  {{- if hasKey $volume "emptyDir" -}}
    {{- with eq (dig "emptyDir" "medium" "" $volume) "Memory" | ternary $override.shmMiB $override.diskMiB -}}
      {{- $_ := set $volume.emptyDir "sizeLimit" (printf "%dMi" (int .)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- /* podSpecPatch: the ladder of memory, Argo's own containers, the runtime class. */}}
{{- define "rtpipeline.argo.patch" -}}
{{- $values := .root.Values -}}{{- $template := .template -}}
{{- $text := $template.podSpecPatch | default "{}" -}}
{{- with .override.memoryMiB -}}
  {{- $attempts := dig "retryStrategy" "limit" 0 $template | int | add1 | int -}}
  {{- if gt (len .) $attempts }}{{ fail (printf "stages.%s.memoryMiB has %d rungs for %d attempts" $.stage (len .) $attempts) }}{{ end -}}
  {{- $rungs := list -}}
  {{- range . }}{{ $rungs = append $rungs (int .) }}{{ end -}}
  {{- range until (int (sub $attempts (len .))) }}{{ $rungs = append $rungs (last $rungs) }}{{ end -}}
  {{- $text = regexReplaceAll `\[[0-9, ]+\]\[asInt\(retries\)\]` $text (printf "[%s][asInt(retries)]" (join "," $rungs)) -}}
{{- end -}}
{{- $patch := fromJson $text -}}
{{- if hasKey $patch "Error" }}{{ fail (printf "podSpecPatch of template %s is no JSON: %s" $template.name $patch.Error) }}{{ end -}}
{{- range $field, $name := dict "initContainers" "init" "containers" "wait" -}}
  {{- $kept := list -}}
  {{- range $container := get $patch $field | default list -}}
    {{- if ne $container.name $name -}}
      {{- $kept = append $kept $container -}}
    {{- else if $values.argo.patchExecutor -}}
      {{- $kept = append $kept (set $container "resources" (include "rtpipeline.argo.executor" $values.argo.executor | fromYaml)) -}}
    {{- end -}}
  {{- end -}}
  {{- if $kept }}{{ $_ := set $patch $field $kept }}{{ else }}{{ $_ := unset $patch $field }}{{ end -}}
{{- end -}}
{{- if and (eq .class "gpu") $values.gpu.runtimeClassName }}{{ $_ := set $patch "runtimeClassName" $values.gpu.runtimeClassName }}{{ end -}}
{{- /* toRawJson: toJson would write `<` and `&` of an expression as escapes */ -}}
{{- if $patch }}{{ $_ := set $template "podSpecPatch" (toRawJson $patch) }}{{ else }}{{ $_ := unset $template "podSpecPatch" }}{{ end -}}
{{- end }}

{{- define "rtpipeline.argo.executor" -}}
requests: {cpu: {{ .cpu | quote }}, memory: {{ .memory | quote }}}
limits: {cpu: {{ .cpuLimit | quote }}, memory: {{ .memoryLimit | quote }}}
{{- end }}
