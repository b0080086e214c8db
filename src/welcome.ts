import { join, resolve } from 'node:path'
import type { Config } from './config.ts'
import type { RunningService } from './service.ts'

/** What `npm start` prints: where it is, and the calls that make the first mailbox. */
export function welcome({ url, notes }: RunningService, config: Config, token: string | undefined): string {
  const base = config.publicUrl ?? url.replace('//0.0.0.0', '//127.0.0.1').replace('//[::]', '//[::1]')
  const post = `curl -sS -H "authorization: Bearer $TOKEN" -H 'content-type: application/json'`
  const where = tokenEnvironment(config)
  return [
    '',
    `Mailwright listens on ${base}`,
    `API reference        ${base}/docs`,
    `Documentation        ${base}/guide/`,
    ...notes.map((note) => `Note: ${note}`),
    '',
    'The first domain and mailbox:',
    `  TOKEN=${token ?? `$(${where}npm run -s token)`}`,
    `  ${post} -d '{"name":"example.jp"}' ${base}/v1/domains`,
    `  ${post} -d '{"address":"user05@example.jp","generate_password":true}' ${base}/v1/mailboxes`,
    '',
  ].join('\n')
}

/** The variables that make the command find the key of this service. */
function tokenEnvironment({ dataDir, tokenKeyFile }: Config): string {
  if (tokenKeyFile !== join(dataDir, 'token-key.json')) return `TOKEN_KEY_FILE=${quoted(tokenKeyFile)} `
  return dataDir === resolve('data') ? '' : `MAILWRIGHT_DATA_DIR=${quoted(dataDir)} `
}

function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
