package main

// manifest is what is rendered, many times: a Deployment of an ordinary size
// that asks for the sidecar, and its Service.
const manifest = `---
apiVersion: v1
kind: Service
metadata:
  name: app-%[1]d
  namespace: bench
  labels:
    app: app-%[1]d
spec:
  selector:
    app: app-%[1]d
  ports:
  - name: http
    port: 80
    targetPort: 8080
---
# One of many.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%[1]d
  namespace: bench
  labels:
    app: app-%[1]d
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: dual
    sidecar.speedscale.com/proxy-protocol: tcp:http
    sidecar.speedscale.com/proxy-port: "8080"
spec:
  replicas: 2
  selector:
    matchLabels:
      app: app-%[1]d
  template:
    metadata:
      labels:
        app: app-%[1]d
        version: v1
    spec:
      serviceAccountName: app
      containers:
      - name: app
        image: registry.example.com/app:1.2.3
        args: ["--listen", ":8080"]
        env:
        - name: LOG_LEVEL
          value: info
        - name: DATABASE_URL
          valueFrom:
            secretKeyRef:
              name: database
              key: url
        ports:
        - name: http
          containerPort: 8080
        readinessProbe:
          httpGet:
            path: /healthz
            port: 8080
        livenessProbe:
          httpGet:
            path: /healthz
            port: 8080
        resources:
          requests:
            cpu: 100m
            memory: 64Mi
          limits:
            memory: 256Mi
        volumeMounts:
        - name: config
          mountPath: /etc/app
      volumes:
      - name: config
        configMap:
          name: app-%[1]d
`
