import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import Fastify from 'fastify'
import { slowBodies } from '../src/slow-bodies.ts'
import './support/overdue.ts'

async function start(t: TestContext): Promise<number> {
  const app = Fastify()
  t.after(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  await app.register(slowBodies)
  for (const slowBody of [true, false])
    app.post(slowBody ? '/file' : '/body', { config: { slowBody } }, async () => 'done')
  app.post(
    '/refused',
    { config: { slowBody: true }, onRequest: async (_, reply) => reply.code(401).send() },
    async () => '',
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** Half a body, and then nothing. */
async function sendHalf(t: TestContext, port: number, path: string) {
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  let answer = ''
  socket.on('data', (data) => (answer += data))
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf`,
  )
  const until = async (ready: () => boolean) => {
    for (let i = 0; !ready(); i++) {
      assert.ok(i < 100_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { socket, until, answer: () => answer }
}

const settle = async () => {
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve))
}

test('a body that does not come is given up after a minute, a file is not', async (t) => {
  const port = await start(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const body = await sendHalf(t, port, '/body')
  const file = await sendHalf(t, port, '/file')
  await settle()
  t.mock.timers.tick(59_000)
  await settle()
  assert.deepEqual([body.socket.closed, file.socket.closed], [false, false])
  t.mock.timers.tick(2_000)
  await body.until(() => body.socket.closed)
  assert.equal(file.socket.closed, false)
})

test('nor is a file of whoever was refused waited for', async (t) => {
  const port = await start(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const refused = await sendHalf(t, port, '/refused')
  await refused.until(() => refused.answer().startsWith('HTTP/1.1 401'))
  t.mock.timers.tick(61_000)
  await refused.until(() => refused.socket.closed)
})
