// Loaded in the head of every page: the theme, times in the reader's zone, and what happens when the server goes away.
(() => {
  const remember = (theme) => { document.cookie = `forewarn_theme=${theme}; path=/; max-age=31536000; samesite=lax` }
  if (!/forewarn_theme=/.test(document.cookie)) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches
    remember(dark ? "dark" : "light")
    if (dark && document.documentElement.dataset.theme !== "dark" && /forewarn_theme=/.test(document.cookie)) location.reload()
  }

  const styles = {
    time: { hour: "2-digit", minute: "2-digit" },
    day: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
    date: { day: "numeric", month: "short" },
    clock: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  }
  const formats = {}
  for (const [name, options] of Object.entries(styles)) formats[name] = new Intl.DateTimeFormat(undefined, options)

  class ReaderTime extends HTMLElement {
    static observedAttributes = ["datetime"]
    connectedCallback() { this.show() }
    attributeChangedCallback() { if (this.isConnected) this.show() }
    show() {
      const at = new Date(this.getAttribute("datetime"))
      if (Number.isNaN(at.getTime())) return
      this.attachedRoot ??= this.attachShadow({ mode: "open" })
      this.attachedRoot.textContent = formats[this.dataset.style || "day"].format(at)
      this.title = at.toISOString().replace("T", " ").slice(0, 19) + " UTC"
    }
  }
  customElements.define("fw-time", ReaderTime)

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      remember(document.documentElement.dataset.theme === "dark" ? "light" : "dark")
      location.reload()
    })
  })

  const lost = () => {
    document.getElementById("lost").hidden = false
    const again = async () => {
      const answer = await fetch("healthz", { cache: "no-store" }).catch(() => null)
      if (answer && answer.ok) location.reload()
      else setTimeout(again, 2000)
    }
    setTimeout(again, 1000)
  }
  // A piece that goes live is moved within the page, which takes the focus from it: see live.js.
  document.addEventListener("focusin", (event) => { window.forewarnFocus = event.composedPath()[0] })
  // A page shows its content before the libraries that keep it live are there: what is sent meanwhile waits.
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-action]")
    if (!form) return
    event.preventDefault()
    form.setAttribute("data-early", "")
    for (const b of form.querySelectorAll("button")) b.setAttribute("disabled", "")
  })

  // Libraries and the start of the page, in their order, after its content is painted.
  const start = async () => {
    const scripts = [...document.querySelectorAll("script[type='text/later']")]
    const load = (from) => new Promise((done, failed) => {
      const script = Object.assign(document.createElement("script"), { src: from.dataset.src, async: false })
      script.onload = done
      script.onerror = failed
      document.head.append(script)
    })
    try {
      await Promise.all(scripts.filter((s) => s.dataset.src).map(load))
    } catch {
      return lost()
    }
    for (const from of scripts.filter((s) => !s.dataset.src)) {
      const script = document.createElement("script")
      script.textContent = from.textContent
      document.body.append(script)
    }
  }
  document.addEventListener("DOMContentLoaded", () => {
    if (document.hidden) start()
    else requestAnimationFrame(() => setTimeout(start))
  })

  const listen = () => {
    const opened = window.Bokeh && window.Bokeh.documents && window.Bokeh.documents[0]
    if (!opened) return setTimeout(listen, 100)
    document.documentElement.classList.add("loaded")
    opened.on_event("connection_lost", lost)
  }
  listen()
})()
