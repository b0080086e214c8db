/** SDK_OUTPUT says where to; the tests of the document generate into a folder of their own. */
export default {
  input: '../../openapi/openapi.json',
  output: { path: process.env.SDK_OUTPUT ?? '../../sdk/typescript', module: { extension: '.ts' } },
  // a schema is one type: what is only shown or only sent is said by the schema's name (MailboxCreated, MailboxCreate)
  parser: { transforms: { readWrite: false } },
  plugins: [
    { name: '@hey-api/client-fetch', throwOnError: true },
    { name: '@hey-api/sdk', client: false },
    '@hey-api/typescript',
  ],
}
