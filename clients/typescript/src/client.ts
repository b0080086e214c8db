import { type Client, createConfig, createClient as createFetchClient } from './generated/client/index.ts'
import { toError } from './problems.ts'
import { type Retries, retrying } from './retries.ts'

export interface MailwrightOptions extends Partial<Retries> {
  /** Where the service is, such as `https://provisioning.example.jp`. */
  url: string
  /** A bearer token, or what gives one before each request (one of an identity provider does not last long). */
  token: string | (() => string | Promise<string>)
}

const usual: Retries = { attempts: 5, longestWaitSeconds: 60, timeoutSeconds: 30, fetch: globalThis.fetch }

/**
 * What every operation takes as `client`. A refused request throws a `ProblemError`; one that was turned away for the
 * moment, or got no answer, is sent again where that is safe (see `Retries`).
 */
export function createClient({ url, token, ...retries }: MailwrightOptions): Client {
  const config = createConfig({
    baseUrl: url.replace(/\/+$/, ''),
    auth: typeof token === 'function' ? token : () => token,
    fetch: retrying({ ...usual, ...retries }) as typeof fetch,
    redirect: 'manual', // a body with a password goes to the service and nowhere else
    throwOnError: true,
  })
  const client = createFetchClient(config)
  client.interceptors.error.use((error, response) => toError(error, response))
  return client
}
