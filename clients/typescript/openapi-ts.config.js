/** For clients/generate.ts, which says what is read and where it is written. */
export default {
  input: process.env.SDK_DOCUMENT ?? '../../openapi/openapi.json',
  output: { path: process.env.SDK_OUTPUT ?? '../../sdk/typescript', module: { extension: '.ts' } },
  // a schema is one type: what is only shown or only sent is said by the schema's name (MailboxCreated, MailboxCreate)
  parser: { transforms: { readWrite: false } },
  plugins: [
    { name: '@hey-api/client-fetch', throwOnError: true },
    { name: '@hey-api/sdk', client: false },
    '@hey-api/typescript',
  ],
}
