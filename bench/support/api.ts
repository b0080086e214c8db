import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

const agent = new Agent({ keepAlive: true })

/** One request with JSON; the body of the answer. Not by fetch, which takes as long as some of what is measured. */
export async function call(
  { url, token }: { url: string; token: string },
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const sent = body && JSON.stringify(body)
  const asked = request(new URL(path, url), {
    agent,
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(sent && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) }),
    },
  })
  asked.end(sent)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const answer = await text(response)
  if ((response.statusCode ?? 500) >= 300)
    throw new Error(`${method} ${path} is answered ${response.statusCode}: ${answer}`)
  return answer.startsWith('{') ? JSON.parse(answer) : { text: answer }
}
