/** Whether the service of this environment is ready: for a container's health check. */
import http from 'node:http'
import https from 'node:https'
import { readConfig } from './config.ts'

const { host, port, tlsCertFile } = readConfig(process.env)
const own = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host
// the certificate is for the name that clients use, and this is the same machine
const request = tlsCertFile
  ? https.get({ host: own, port, path: '/readyz', rejectUnauthorized: false, timeout: 3_000 })
  : http.get({ host: own, port, path: '/readyz', timeout: 3_000 })
request.on('response', ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
request.on('error', () => process.exit(1))
request.on('timeout', () => process.exit(1))
