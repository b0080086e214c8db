import { Marked, type Tokens } from 'marked'

/** The anchor that GitHub gives a heading, so that links work in both places. */
export function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')
}

/** Where a link between the pages leads here; undefined for what is in the repository alone. */
export function guideAddress(link: string): string | undefined {
  if (/^(https:\/\/|#)/.test(link)) return link
  const [, page, anchor = ''] = /^([\w-]+)\.md(#.*)?$/.exec(link) ?? []
  if (page === undefined) return undefined
  return `${page === 'README' ? './' : page}${anchor}`
}

const markdown = new Marked({
  renderer: {
    heading({ tokens, depth, text }: Tokens.Heading) {
      return `<h${depth} id="${slug(text)}">${this.parser.parseInline(tokens)}</h${depth}>\n`
    },
    link({ href, tokens }: Tokens.Link) {
      const address = guideAddress(href)
      const text = this.parser.parseInline(tokens)
      return address === undefined ? text : `<a href="${encodeURI(address)}">${text}</a>`
    },
    html: () => '', // comments that the tests read
  },
})

export function renderMarkdown(text: string): string {
  return markdown.parse(text, { async: false })
}
