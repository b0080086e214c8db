import { createHash } from 'node:crypto'

const style =
  'body{font:1rem/1.6 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}code{background:#f2f2f2;padding:.1em .3em}'

interface Page {
  title: string
  /** HTML. */
  body: string
  /** Beside that of all pages. */
  css?: string
}

/** A page for people that loads nothing, and the policy that keeps it so. */
export function htmlPage({ title, body, css = '' }: Page): { html: string; policy: string } {
  const styles = `${style}${css}`
  const hash = createHash('sha256').update(styles).digest('base64')
  return {
    policy: `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    html: `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title><style>${styles}</style></head>
<body>
${body}
</body>
</html>
`,
  }
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
