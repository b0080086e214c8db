/** One request with JSON; the body of the answer. */
export async function call(
  { url, token }: { url: string; token: string },
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const response = await fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path} is answered ${response.status}: ${text}`)
  return text.startsWith('{') ? JSON.parse(text) : { text }
}
