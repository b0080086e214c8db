import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, startProcess, stopProcess } from '../support/process.ts'

test('a port of its own gives the metrics without a token, and nothing else', async (t) => {
  const port = String(await freePort())
  const { url, child, output } = await startProcess(t, { env: { METRICS_PORT: port } })
  const metrics = `http://127.0.0.1:${port}/metrics`
  while (!output().includes(`"url":"${metrics}"`)) await sleep(10) // the log says where they are
  const reply = await fetch(metrics)
  assert.match(reply.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const text = await reply.text()
  assert.match(
    text,
    /^mailwright_http_request_duration_seconds_count\{method="GET",route="\/readyz",status_class="2xx"\} \d+$/m,
  )
  assert.match(text, /^mailwright_database_up 1$/m)
  assert.equal((await fetch(metrics, { method: 'HEAD' })).status, 200)
  for (const path of ['/', '/v1/domains', '/metrics/', '/livez', '/metrics?x=1']) {
    assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 404, path)
  }
  assert.equal((await fetch(metrics, { method: 'POST' })).status, 404)
  assert.equal((await fetch(`${url}/metrics`)).status, 401)
  assert.equal(await stopProcess(child), 0)
  await assert.rejects(fetch(metrics))
})
