{{- define "distcomp.labels" -}}
app.kubernetes.io/name: distcomp
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "distcomp.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* conf.json of a program: `root`, its `login`, and more keys in `more`. */ -}}
{{- define "distcomp.conf" -}}
{{- $redis := .root.Values.redis -}}
{{- $conf := dict "redis_host" $redis.host "redis_port" (int $redis.port) "redis_db" (int $redis.db) "redis_key_prefix" $redis.keyPrefix -}}
{{- $_ := set $conf "redis_user" .login.user -}}
{{- $_ := set $conf "redis_pass_file" "/etc/distcomp/redis/password" -}}
{{- if $redis.tls -}}
{{- $_ := set $conf "redis_tls" (dict "ca" "/etc/distcomp/redis/ca.crt" "cert" "/etc/distcomp/redis/tls.crt" "key" "/etc/distcomp/redis/tls.key") -}}
{{- end -}}
{{- merge (dict) .more $conf | toPrettyJson -}}
{{- end }}

{{- /* What tasks can have on a worker, as the query of /api/v1/wanted and of `serve --shape`. */ -}}
{{- define "distcomp.shape" -}}
{{- $shape := .Values.worker.shape -}}
cpus={{ $shape.cpus }}&mem={{ $shape.mem }}
{{- range $shape.resource }}&resource={{ . }}{{ end }}
{{- range $shape.label }}&label={{ . }}{{ end }}
{{- end }}

{{- /* The label of the metric distcomp_queue_wanted_workers. */ -}}
{{- define "distcomp.shapeLabel" -}}
{{- $shape := .Values.worker.shape -}}
cpus={{ $shape.cpus }},mem={{ $shape.mem }}
{{- range $shape.resource | sortAlpha }},{{ . }}{{ end }}
{{- range $shape.label | sortAlpha }},label={{ . }}{{ end }}
{{- end }}

{{- define "distcomp.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "distcomp.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The pod of a worker: `root`, `args`, `restartPolicy`. */ -}}
{{- define "distcomp.workerPod" -}}
{{- $values := .root.Values -}}
{{- $worker := $values.worker -}}
metadata:
  labels:
    {{- include "distcomp.labels" (dict "root" .root "component" "worker") | nindent 4 }}
  annotations:
    # A pod that was chosen to make a node empty would return its tasks.
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
    karpenter.sh/do-not-disrupt: "true"
    {{- with $worker.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  restartPolicy: {{ .restartPolicy }}
  # Above drain_timeout_seconds of conf.json, so that the worker returns what it cannot end in time.
  terminationGracePeriodSeconds: {{ add $worker.drainTimeoutSeconds 60 }}
  # A task must not be able to speak to the cluster.
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "distcomp.podSecurity" . | nindent 4 }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $worker.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $worker.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $worker.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: worker
      image: {{ include "distcomp.image" .root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [distcomp-worker]
      args:
        - --name=$(POD_NAME)
        - --metrics-listen=0.0.0.0:9464
        - --log-format=json
        {{- range .args }}
        - {{ . | quote }}
        {{- end }}
        {{- range $worker.shape.resource }}
        {{- /* The worker finds the GPUs of its pod by itself, each as a device. */ -}}
        {{- if not (hasPrefix "gpus=" .) }}
        - --resource={{ . }}
        {{- end }}
        {{- end }}
        {{- range $worker.shape.label }}
        - --label={{ . }}
        {{- end }}
        {{- range $worker.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: DISTCOMP_CONFIG
          value: /etc/distcomp/conf/conf.json
        - name: HOME
          value: /work
        {{- with $worker.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      workingDir: /work
      ports:
        - {name: metrics, containerPort: 9464}
      # Says whether the main loop answers. An unreachable Redis is no reason for a restart.
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 5
        timeoutSeconds: 5
      resources:
        {{- toYaml $worker.resources | nindent 8 }}
      securityContext:
        {{- include "distcomp.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: conf, mountPath: /etc/distcomp/conf, readOnly: true}
        - {name: redis, mountPath: /etc/distcomp/redis, readOnly: true}
        - {name: state, mountPath: /var/lib/distcomp}
        - {name: work, mountPath: /work}
        - {name: tmp, mountPath: /tmp}
        {{- with $worker.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: conf
      configMap: {name: {{ .root.Release.Name }}-worker}
    # 288 is 0440: readable for the group of the pod, which is the worker alone.
    - name: redis
      secret: {secretName: {{ $values.redis.worker.secret }}, defaultMode: 288}
    - name: state
      emptyDir: {}
    - name: work
      {{- if $worker.workClaim }}
      persistentVolumeClaim: {claimName: {{ $worker.workClaim }}}
      {{- else }}
      emptyDir: {}
      {{- end }}
    - name: tmp
      emptyDir: {}
    {{- with $worker.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
