import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outcome, type Reply } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
await admin.post('/v1/domains', { name: 'a.jp' })

const never = '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e' // has the form of a version
const generated = { generate_password: true }
const match = (tag: string) => ({ headers: { 'if-match': tag } })
let made = 0

interface Kind {
  make(): Promise<{ path: string; created: Reply }>
  /** Two edits, of which one changes something. */
  edits: [object, object]
}

const kinds: Record<string, Kind & { deletable: boolean }> = {
  domain: {
    async make() {
      const name = `d${++made}.jp`
      return { path: `/v1/domains/${name}`, created: await admin.post('/v1/domains', { name }) }
    },
    edits: [{ locked: true }, { locked: false }],
    deletable: true,
  },
  mailbox: {
    async make() {
      const address = `m${++made}@a.jp`
      const created = await admin.post('/v1/mailboxes', { address, ...generated })
      return { path: `/v1/mailboxes/${address}`, created }
    },
    edits: [{ locked: true }, { quota_bytes: 5 }],
    deletable: true,
  },
  account: {
    async make() {
      const name = `a${++made}`
      return {
        path: `/v1/accounts/${name}`,
        created: await admin.post('/v1/accounts', { name, ...generated }),
      }
    },
    edits: [{ disabled: true }, { display_name: 'X' }],
    deletable: true,
  },
  server: {
    async make() {
      const created = await admin.patch('/v1/server', { pop3s_port: 1000 + ++made, imaps_port: 993 })
      return { path: '/v1/server', created }
    },
    edits: [{ pop3s_port: 995 }, { imaps_port: 1993 }],
    deletable: false,
  },
}

const malformed = ['x', '', '"', '"a', 'a"', '"a" "b"', '"a",', 'w/"a"', '* , "a"', "'a'", '"a\tb"', never]

for (const [kind, { make, edits, deletable }] of Object.entries(kinds)) {
  describe(`the ETag of a ${kind}`, () => {
    test('is a strong tag, the same wherever the version is, and new with each change', async () => {
      const { path, created } = await make()
      assert.match(created.etag, /^"[0-9a-f-]{36}"$/)
      assert.equal((await admin.get(path)).etag, created.etag)
      const tags = new Set([created.etag])
      for (const edit of edits) {
        const after = await admin.patch(path, edit)
        assert.equal((await admin.get(path)).etag, after.etag)
        tags.add(after.etag)
      }
      assert.equal(tags.size, 3)
    })

    test('in If-Match lets only the version that is meant be changed', async () => {
      const { path, created } = await make()
      const refused = [`W/${created.etag}`, '"x"', `"${never}"`, `"x", W/${created.etag}`, '""']
      for (const tag of refused) {
        const reply = await admin.patch(path, edits[0], match(tag))
        assert.equal(outcome(reply), '412 precondition-failed', tag)
      }
      assert.equal((await admin.get(path)).etag, created.etag)
      const first = await admin.patch(path, edits[0], match(created.etag))
      assert.equal(first.status, 200)
      const stale = await admin.patch(path, edits[1], match(created.etag))
      assert.equal(outcome(stale), '412 precondition-failed')
      const unchanged = await admin.patch(path, {}, match(created.etag))
      assert.equal(outcome(unchanged), '412 precondition-failed', 'an empty edit too')
      const listed = await admin.patch(path, edits[1], match(`"x" , W/"y",${first.etag}`))
      assert.equal(listed.status, 200)
      assert.equal((await admin.patch(path, edits[0], match('*'))).status, 200)
      assert.equal((await admin.patch(path, edits[0], match(' * '))).status, 200)
    })

    test('malformed in If-Match is 400', async () => {
      const { path, created } = await make()
      for (const tag of malformed) {
        const refused = await admin.patch(path, edits[0], match(tag))
        assert.equal(outcome(refused), '400 invalid-request', tag)
        assert.equal(refused.body.errors[0].pointer, 'header/if-match')
      }
      assert.equal((await admin.get(path)).etag, created.etag)
    })

    test('in If-None-Match never makes a GET a 304', async () => {
      const { path, created } = await make()
      for (const tag of [created.etag, '*', `W/${created.etag}`, 'x']) {
        const got = await admin.get(path, { headers: { 'if-none-match': tag } })
        assert.equal(got.status, 200, tag)
        assert.equal(got.etag, created.etag)
      }
    })

    if (!deletable) return
    test('in If-Match holds a deletion back', async () => {
      const { path, created } = await make()
      await admin.patch(path, edits[0])
      for (const tag of [created.etag, `W/${created.etag}`, '"x"'])
        assert.equal(outcome(await admin.delete(path, match(tag))), '412 precondition-failed', tag)
      for (const tag of malformed)
        assert.equal(outcome(await admin.delete(path, match(tag))), '400 invalid-request', tag)
      const { etag, status } = await admin.get(path)
      assert.equal(status, 200)
      assert.equal(outcome(await admin.delete(path, match(`"x", ${etag}`))), '204')
      assert.equal((await admin.delete(path, match('*'))).status, 404, 'what is not there is 404 first')
      assert.equal((await admin.patch(path, {}, match(etag))).status, 404)
    })

    test('is another one for an object made anew', async () => {
      const { path, created } = await make()
      const purge = kind === 'mailbox' ? '?purge=true&account=delete' : ''
      await admin.delete(path + purge)
      const name = path.split('/').at(-1)
      const body = kind === 'mailbox' ? { address: name, ...generated } : { name }
      const anew = await admin.post(`/v1/${path.split('/')[2]}`, {
        ...body,
        ...(kind === 'account' && generated),
      })
      assert.equal(anew.status, 201)
      const stale = await admin.patch(path, edits[0], match(created.etag))
      assert.equal(outcome(stale), '412 precondition-failed')
    })
  })
}

test('other rows do not move the ETag of a mailbox or a domain', async () => {
  const domain = await admin.post('/v1/domains', { name: 'still.jp' })
  const mailbox = await admin.post('/v1/mailboxes', { address: 'still@still.jp', ...generated })
  await admin.patch('/v1/accounts/still', { display_name: 'X', disabled: true })
  await admin.put('/v1/accounts/still/password', generated)
  await admin.patch('/v1/server', { default_quota_bytes: 12 })
  assert.equal((await admin.get('/v1/domains/still.jp')).etag, domain.etag)
  await admin.patch('/v1/domains/still.jp', { default_quota_bytes: 7 })
  const got = await admin.get('/v1/mailboxes/still@still.jp')
  assert.equal(got.etag, mailbox.etag)
  assert.equal(got.body.effective_quota_bytes, 7)
})

test('If-Match holds a purge back, of an active and of a deleted mailbox', async () => {
  const { path, created } = await kinds.mailbox!.make()
  const purge = `${path}?purge=true`
  assert.equal(outcome(await admin.delete(purge, match('"x"'))), '412 precondition-failed')
  await admin.delete(path)
  assert.equal(outcome(await admin.delete(purge, match(created.etag))), '412 precondition-failed')
  assert.equal(outcome(await admin.delete(purge, match('*'))), '204')
  assert.equal(outcome(await admin.delete(purge, match('*'))), '404 mailbox-not-found')
})

test('If-Match holds the deletion of a domain with its mailboxes back', async () => {
  const { path, created } = await kinds.domain!.make()
  await admin.post('/v1/mailboxes', { address: `x${made}@${path.split('/').at(-1)}`, ...generated })
  const deletion = `${path}?mailboxes=delete&expect=1`
  assert.equal(outcome(await admin.delete(deletion, match('"x"'))), '412 precondition-failed')
  assert.equal(outcome(await admin.delete(deletion, match(created.etag))), '204')
})
