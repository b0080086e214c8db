import type { Config } from './config.ts'
import type { RunningService } from './service.ts'

/** What `npm start` prints: where it is, and the calls that make the first mailbox. */
export function welcome({ url, notes }: RunningService, config: Config, token: string | undefined): string {
  const base = config.publicUrl ?? url.replace('//0.0.0.0', '//127.0.0.1').replace('//[::]', '//[::1]')
  const post = `curl -sS -H "authorization: Bearer $TOKEN" -H 'content-type: application/json'`
  return [
    '',
    `Mailwright listens on ${base}`,
    `API reference        ${base}/docs`,
    ...notes.map((note) => `Note: ${note}`),
    '',
    'The first domain and mailbox:',
    `  TOKEN=${token ?? '$(npm run -s token)'}`,
    `  ${post} -d '{"name":"example.jp"}' ${base}/v1/domains`,
    `  ${post} -d '{"address":"user05@example.jp","generate_password":true}' ${base}/v1/mailboxes`,
    '',
  ].join('\n')
}
