function e(t,n){if(t===n)return!0;if(t===null||n===null||typeof t!=`object`||typeof n!=`object`||Object.keys(t).length!==Object.keys(n).length)return!1;for(let r in t)if(n.hasOwnProperty(r)){if(!e(t[r],n[r]))return!1}else return!1;return!0}function t(e){return r(JSON.stringify(e))}function n(e,t=0){let n=3735928559^t,r=1103547991^t;for(let t=0;t<e.length;t++){let i=e[t];n=Math.imul(n^i,2654435761),r=Math.imul(r^i,1597334677)}return n=Math.imul(n^n>>>16,2246822507),n^=Math.imul(r^r>>>13,3266489909),r=Math.imul(r^r>>>16,2246822507),r^=Math.imul(n^n>>>13,3266489909),[r>>>0,n>>>0]}function r(e){let t=n(new TextEncoder().encode(e));return t[0].toString(16).padStart(8,`0`)+t[1].toString(16).padStart(8,`0`)}function i(e,t,...n){try{if(n.every(e=>e!==void 0)){let r=e[t];if(typeof r==`function`)return r(...n)}}catch(e){console.error(e)}}function a(e){return{clientX:e.clientX,clientY:e.clientY,pageX:e.pageX,pageY:e.pageY,modifiers:{shift:e.shiftKey,ctrl:e.ctrlKey,alt:e.altKey,meta:e.metaKey}}}function o(e,t){let n=t,r,o=!1,c=!1,l=e=>{let t=a(e);e.preventDefault(),e.stopPropagation(),s(),o=!0,r&&=(i(r,`up`),void 0);let c=e=>{let o=a(e);n.drag&&!r?Math.hypot(t.clientX-o.clientX,t.clientY-o.clientY)>2&&(r=i(n,`drag`,t),r&&i(r,`move`,o)):r&&i(r,`move`,o)},l=e=>{let t=a(e);o=!1,window.removeEventListener(`mousemove`,c),window.removeEventListener(`mouseup`,l),r?(i(r,`up`,e),r=void 0):n.click&&i(n,`click`,t)};window.addEventListener(`mousemove`,c,{passive:!0}),window.addEventListener(`mouseup`,l,{passive:!0})},u=e=>{o||n.hover&&(i(n,`hover`,a(e)),c=!0)},d=e=>{c&&n.hover&&(i(n,`hover`,null),c=!1)};return e.addEventListener(`mousedown`,l,{passive:!1}),e.addEventListener(`mousemove`,u,{passive:!0}),e.addEventListener(`mouseleave`,d,{passive:!0}),{update:e=>{n=e},destroy:()=>{e.removeEventListener(`mousedown`,l),e.removeEventListener(`mousemove`,u),e.removeEventListener(`mouseleave`,d)}}}function s(){try{document.activeElement&&document.activeElement!==document.body&&document.activeElement.blur?.()}catch{}}var c=Object.create,l=Object.defineProperty,u=Object.getOwnPropertyDescriptor,d=Object.getOwnPropertyNames,f=Object.getPrototypeOf,p=Object.prototype.hasOwnProperty,m=(e,t)=>()=>(t||(e((t={exports:{}}).exports,t),e=null),t.exports),h=(e,t,n,r)=>{if(t&&typeof t==`object`||typeof t==`function`)for(var i=d(t),a=0,o=i.length,s;a<o;a++)s=i[a],!p.call(e,s)&&s!==n&&l(e,s,{get:(e=>t[e]).bind(null,s),enumerable:!(r=u(t,s))||r.enumerable});return e},g=(e,t,n)=>(n=e==null?{}:c(f(e)),h(t||!e||!e.__esModule?l(n,`default`,{value:e,enumerable:!0}):n,e));function _(){return navigator.gpu!=null&&navigator.gpu.requestAdapter!=null&&navigator.gpu.wgslLanguageFeatures!=null}async function v(){if(!_())return null;let e=await navigator.gpu.requestAdapter();if(!e)return console.debug(`Could not request WebGPU adapter`),null;let t=[{requiredLimits:{maxBufferSize:e.limits.maxBufferSize,maxStorageBufferBindingSize:e.limits.maxStorageBufferBindingSize},requiredFeatures:[`shader-f16`]},...[512,256,128,64,32].map(t=>({requiredLimits:{maxBufferSize:Math.min(t*1048576,e.limits.maxBufferSize),maxStorageBufferBindingSize:Math.min(t*1048576,e.limits.maxStorageBufferBindingSize)},requiredFeatures:[`shader-f16`]}))];for(let n of t)try{return await e.requestDevice(n)}catch(e){console.error(e);continue}return null}function y(e){return e==0&&(e=4),e%4!=0&&(e+=4-e%4),e}function b(e,t,n,r){return(e.buffer==null||e.byteSize!=n||e.usage!=r)&&(e.buffer!=null&&e.buffer.destroy(),e.buffer=t.createBuffer({size:y(n),usage:r}),e.byteSize=n,e.destroy=()=>{e.buffer?.destroy()}),e.buffer}function x(e,t,n,r){if(e.buffer!==n||e.data!==r){if(r!=null){if(r.byteLength%4!=0){let e=r.byteLength-r.byteLength%4;if(t.queue.writeBuffer(n,0,r,0,e),r instanceof Uint8Array){let i=new Uint8Array(4);for(let t=0;t<4;t++)e+t<r.length&&(i[t]=r[e+t]);t.queue.writeBuffer(n,e,i)}}else t.queue.writeBuffer(n,0,r,0)}else t.queue.writeBuffer(n,0,new ArrayBuffer(n.size));e.buffer=n,e.data=r}return n}function S(e,t,n,r,i,a){return(e.texture==null||e.width!=n||e.height!=r||e.format!=i||e.usage!=a)&&(e.texture!=null&&e.texture.destroy(),e.texture=t.createTexture({size:[n,r],format:i,usage:a}),e.destroy=()=>{e.texture?.destroy()}),e.texture}var C=1024,w=2048,T=4096,ee=8192,te=16384,ne=32768,re=1<<25,ie=65536,ae=1<<19,oe=1<<20,E=1<<25,se=65536,ce=1<<21,le=1<<22,D=1<<23,O=Symbol(`$state`),ue=Symbol(`legacy props`),de=Symbol(``),fe=Symbol(`attributes`),pe=Symbol(`class`),me=Symbol(`style`),he=Symbol(`text`),ge=new class extends Error{name=`StaleReactionError`;message="The reaction that called `getAbortSignal()` was re-run or destroyed"},_e=!!globalThis.document?.contentType&&globalThis.document.contentType.includes(`xml`),ve=Array.isArray,ye=Array.prototype.indexOf,be=Array.prototype.includes,xe=Array.from,k=Object.defineProperty,A=Object.getOwnPropertyDescriptor,Se=Object.getOwnPropertyDescriptors,Ce=Object.prototype,we=Array.prototype,Te=Object.getPrototypeOf,Ee=Object.isExtensible,De=()=>{};function Oe(e){for(var t=0;t<e.length;t++)e[t]()}function ke(){var e,t;return{promise:new Promise((n,r)=>{e=n,t=r}),resolve:e,reject:t}}function Ae(e){return e===this.v}function je(e,t){return e==e?e!==t||typeof e==`object`&&!!e||typeof e==`function`:t==t}function Me(e){return!je(e,this.v)}function Ne(e){throw Error(`https://svelte.dev/e/lifecycle_outside_component`)}function Pe(){throw Error(`https://svelte.dev/e/async_derived_orphan`)}function Fe(e,t,n){throw Error(`https://svelte.dev/e/each_key_duplicate`)}function Ie(e){throw Error(`https://svelte.dev/e/effect_in_teardown`)}function Le(){throw Error(`https://svelte.dev/e/effect_in_unowned_derived`)}function Re(e){throw Error(`https://svelte.dev/e/effect_orphan`)}function ze(){throw Error(`https://svelte.dev/e/effect_update_depth_exceeded`)}function Be(){throw Error(`https://svelte.dev/e/hydration_failed`)}function Ve(e){throw Error(`https://svelte.dev/e/props_invalid_value`)}function He(){throw Error(`https://svelte.dev/e/state_descriptors_fixed`)}function Ue(){throw Error(`https://svelte.dev/e/state_prototype_fixed`)}function We(){throw Error(`https://svelte.dev/e/state_unsafe_mutation`)}function Ge(){throw Error(`https://svelte.dev/e/svelte_boundary_reset_onerror`)}var Ke={},j=Symbol(`uninitialized`),qe=`http://www.w3.org/1999/xhtml`,M=null;function Je(e){M=e}function Ye(e,t=!1,n){M={p:M,i:!1,c:null,e:null,s:e,x:null,r:G,l:null}}function Xe(e){var t=M,n=t.e;if(n!==null){t.e=null;for(var r of n)ir(r)}return e!==void 0&&(t.x=e),t.i=!0,M=t.p,e??{}}function Ze(){return!0}var Qe=[];function $e(){var e=Qe;Qe=[],Oe(e)}function et(e){if(Qe.length===0&&!It){var t=Qe;queueMicrotask(()=>{t===Qe&&$e()})}Qe.push(e)}function tt(){for(;Qe.length>0;)$e()}function nt(){console.warn(`https://svelte.dev/e/derived_inert`)}function rt(e){console.warn(`https://svelte.dev/e/hydration_mismatch`)}function it(){console.warn(`https://svelte.dev/e/svelte_boundary_reset_noop`)}var N=!1;function at(e){N=e}var P;function F(e){if(e===null)throw rt(),Ke;return P=e}function ot(){return F(vt(P))}function I(e){if(N){if(vt(P)!==null)throw rt(),Ke;P=e}}function st(e=1){if(N){for(var t=e,n=P;t--;)n=vt(n);P=n}}function ct(e=!0){for(var t=0,n=P;;){if(n.nodeType===8){var r=n.data;if(r===`]`){if(t===0)return n;--t}else(r===`[`||r===`[!`||r[0]===`[`&&!isNaN(Number(r.slice(1))))&&(t+=1)}var i=vt(n);e&&n.remove(),n=i}}function lt(e){if(!e||e.nodeType!==8)throw rt(),Ke;return e.data}function ut(e){if(typeof e!=`object`||!e||O in e)return e;let t=Te(e);if(t!==Ce&&t!==we)return e;var n=new Map,r=ve(e),i=H(0),a=null,o=Rn,s=e=>{if(Rn===o)return e();var t=W,n=Rn;kn(null),zn(o);var r=e();return kn(t),zn(n),r};return r&&n.set(`length`,H(e.length,a)),new Proxy(e,{defineProperty(e,t,r){`value`in r&&r.configurable!==!1&&r.enumerable!==!1&&r.writable!==!1||He();var i=n.get(t);return i===void 0?s(()=>{var e=H(r.value,a);return n.set(t,e),e}):U(i,r.value,!0),!0},deleteProperty(e,t){var r=n.get(t);if(r===void 0){if(t in e){let e=s(()=>H(j,a));n.set(t,e),xn(i)}}else U(r,j),xn(i);return!0},get(t,r,i){if(r===O)return e;var o=n.get(r),c=r in t;if(o===void 0&&(!c||A(t,r)?.writable)&&(o=s(()=>H(ut(c?t[r]:j),a)),n.set(r,o)),o!==void 0){var l=q(o);return l===j?void 0:l}return Reflect.get(t,r,i)},getOwnPropertyDescriptor(e,t){var r=Reflect.getOwnPropertyDescriptor(e,t);if(r&&`value`in r){var i=n.get(t);i&&(r.value=q(i))}else if(r===void 0){var a=n.get(t),o=a?.v;if(a!==void 0&&o!==j)return{enumerable:!0,configurable:!0,value:o,writable:!0}}return r},has(e,t){if(t===O)return!0;var r=n.get(t),i=r!==void 0&&r.v!==j||Reflect.has(e,t);return(r!==void 0||G!==null&&(!i||A(e,t)?.writable))&&(r===void 0&&(r=s(()=>H(i?ut(e[t]):j,a)),n.set(t,r)),q(r)===j)?!1:i},set(e,t,o,c){var l=n.get(t),u=t in e;if(r&&t===`length`)for(var d=o;d<l.v;d+=1){var f=n.get(d+``);f===void 0?d in e&&(f=s(()=>H(j,a)),n.set(d+``,f)):U(f,j)}if(l===void 0)(!u||A(e,t)?.writable)&&(l=s(()=>H(void 0,a)),U(l,ut(o)),n.set(t,l));else{u=l.v!==j;var p=s(()=>ut(o));U(l,p)}var m=Reflect.getOwnPropertyDescriptor(e,t);if(m?.set&&m.set.call(c,o),!u){if(r&&typeof t==`string`){var h=n.get(`length`),g=Number(t);Number.isInteger(g)&&g>=h.v&&U(h,g+1)}xn(i)}return!0},ownKeys(e){q(i);var t=Reflect.ownKeys(e).filter(e=>{var t=n.get(e);return t===void 0||t.v!==j});for(var[r,a]of n)a.v!==j&&!(r in e)&&t.push(r);return t},setPrototypeOf(){Ue()}})}var dt,ft,pt,mt;function ht(){if(dt===void 0){dt=window,ft=/Firefox/.test(navigator.userAgent);var e=Element.prototype,t=Node.prototype,n=Text.prototype;pt=A(t,`firstChild`).get,mt=A(t,`nextSibling`).get,Ee(e)&&(e[pe]=void 0,e[fe]=null,e[me]=void 0,e.__e=void 0),Ee(n)&&(n[he]=void 0)}}function gt(e=``){return document.createTextNode(e)}function _t(e){return pt.call(e)}function vt(e){return mt.call(e)}function L(e,t){if(!N)return _t(e);var n=_t(P);if(n===null)n=P.appendChild(gt());else if(t&&n.nodeType!==3){var r=gt();return n?.before(r),F(r),r}return t&&Ct(n),F(n),n}function yt(e,t=!1){if(!N){var n=_t(e);return n instanceof Comment&&n.data===``?vt(n):n}if(t){if(P?.nodeType!==3){var r=gt();return P?.before(r),F(r),r}Ct(P)}return P}function R(e,t=1,n=!1){let r=N?P:e;for(var i;t--;)i=r,r=vt(r);if(!N)return r;if(n){if(r?.nodeType!==3){var a=gt();return r===null?i?.after(a):r.before(a),F(a),a}Ct(r)}return F(r),r}function bt(e){e.textContent=``}function xt(){return!1}function St(e,t,n){return t==null||t===`http://www.w3.org/1999/xhtml`?n?document.createElement(e,{is:n}):document.createElement(e):n?document.createElementNS(t,e,{is:n}):document.createElementNS(t,e)}function Ct(e){if(e.nodeValue.length<65536)return;let t=e.nextSibling;for(;t!==null&&t.nodeType===3;)t.remove(),e.nodeValue+=t.nodeValue,t=e.nextSibling}function wt(e){var t=G;if(t===null)return W.f|=D,e;if(!(t.f&32768)&&!(t.f&4))throw e;Tt(e,t)}function Tt(e,t){for(;t!==null;){if(t.f&128){if(!(t.f&32768))throw e;try{t.b.error(e);return}catch(t){e=t}}t=t.parent}throw e}var Et=~(w|T|C);function z(e,t){e.f=e.f&Et|t}function Dt(e){e.f&512||e.deps===null?z(e,C):z(e,T)}function Ot(e){if(e!==null)for(let t of e)!(t.f&2)||!(t.f&65536)||(t.f^=se,Ot(t.deps))}function kt(e,t,n){e.f&2048?t.add(e):e.f&4096&&n.add(e),Ot(e.deps),z(e,C)}var At=!1;function jt(e){var t=At;try{return At=!1,[e(),At]}finally{At=t}}var Mt=null,B=null,Nt=null,Pt=null,Ft=null,It=!1,Lt=!1,Rt=null,zt=null,Bt=0,Vt=1,Ht=class e{id=Vt++;#e=!1;linked=!0;#t=null;#n=null;async_deriveds=new Map;current=new Map;previous=new Map;#r=new Set;#i=new Set;#a=0;#o=new Map;#s=null;#c=[];#l=[];#u=new Set;#d=new Set;#f=new Map;#p=new Set;is_fork=!1;#m=!1;constructor(){Mt===null?Mt=this:(Mt.#n=this,this.#t=Mt),Mt=this}#h(){if(this.is_fork)return!0;for(let n of this.#o.keys()){for(var e=n,t=!1;e.parent!==null;){if(this.#f.has(e)){t=!0;break}e=e.parent}if(!t)return!0}return!1}skip_effect(e){this.#f.has(e)||this.#f.set(e,{d:[],m:[]}),this.#p.delete(e)}unskip_effect(e,t=e=>this.schedule(e)){var n=this.#f.get(e);if(n){this.#f.delete(e);for(var r of n.d)z(r,w),t(r);for(r of n.m)z(r,T),t(r)}this.#p.add(e)}#g(){this.#e=!0,Bt++>1e3&&(this.#x(),Wt());for(let e of this.#u)this.#d.delete(e),z(e,w),this.schedule(e);for(let e of this.#d)z(e,T),this.schedule(e);let t=this.#c;this.#c=[],this.apply();var n=Rt=[],r=[],i=zt=[];for(let e of t)try{this.#_(e,n,r)}catch(t){throw Yt(e),this.#h()||this.discard(),t}if(B=null,i.length>0){var a=e.ensure();for(let e of i)a.schedule(e)}if(Rt=null,zt=null,this.#h()){this.#b(r),this.#b(n);for(let[e,t]of this.#f)Jt(e,t);i.length>0&&B.#g();return}let o=this.#v();if(o)this.#b(r),this.#b(n),o.#y(this);else{this.#u.clear(),this.#d.clear();for(let e of this.#r)e(this);this.#r.clear(),Nt=this,Kt(r),Kt(n),Nt=null,this.#s?.resolve();var s=B;if(this.#a===0&&(this.#c.length===0||s!==null)&&this.#x(),this.#c.length>0){if(s!==null){let e=s;e.#c.push(...this.#c.filter(t=>!e.#c.includes(t)))}else s=this}s!==null&&s.#g()}}#_(e,t,n){e.f^=C;for(var r=e.first;r!==null;){var i=r.f,a=!!(i&96);if(!(a&&i&1024||i&8192||this.#f.has(r))&&r.fn!==null){a?r.f^=C:i&4?t.push(r):Vn(r)&&(i&16&&this.#d.add(r),Kn(r));var o=r.first;if(o!==null){r=o;continue}}for(;r!==null;){var s=r.next;if(s!==null){r=s;break}r=r.parent}}}#v(){for(var e=this.#t;e!==null;){if(!e.is_fork){for(let[t,[,n]]of this.current)if(e.current.has(t)&&!n)return e}e=e.#t}return null}#y(e){for(let[t,n]of e.current)!this.previous.has(t)&&e.previous.has(t)&&this.previous.set(t,e.previous.get(t)),this.current.set(t,n);for(let[t,n]of e.async_deriveds){let e=this.async_deriveds.get(t);e&&n.promise.then(e.resolve).catch(e.reject)}this.transfer_effects(e.#u,e.#d);let t=e=>{var n=e.reactions;if(n!==null)for(let e of n){var r=e.f;if(r&2)t(e);else{var i=e;r&4194320&&!this.async_deriveds.has(i)&&(this.#d.delete(i),z(i,w),this.schedule(i))}}};for(let e of this.current.keys())t(e);this.oncommit(()=>e.discard()),e.#x(),B=this,this.#g()}#b(e){for(var t=0;t<e.length;t+=1)kt(e[t],this.#u,this.#d)}capture(e,t,n=!1){e.v!==j&&!this.previous.has(e)&&this.previous.set(e,e.v),e.f&8388608||(this.current.set(e,[t,n]),Pt?.set(e,t)),this.is_fork||(e.v=t)}activate(){B=this}deactivate(){B=null,Pt=null}flush(){try{Lt=!0,B=this,this.#g()}finally{Bt=0,Ft=null,Rt=null,zt=null,Lt=!1,B=null,Pt=null,hn.clear()}}discard(){for(let e of this.#i)e(this);this.#i.clear(),this.#x(),this.#s?.resolve()}register_created_effect(e){this.#l.push(e)}increment(e,t){if(this.#a+=1,e){let e=this.#o.get(t)??0;this.#o.set(t,e+1)}}decrement(e,t){if(--this.#a,e){let e=this.#o.get(t)??0;e===1?this.#o.delete(t):this.#o.set(t,e-1)}this.#m||(this.#m=!0,et(()=>{this.#m=!1,this.linked&&this.flush()}))}transfer_effects(e,t){for(let t of e)this.#u.add(t);for(let e of t)this.#d.add(e);e.clear(),t.clear()}oncommit(e){this.#r.add(e)}ondiscard(e){this.#i.add(e)}settled(){return(this.#s??=ke()).promise}static ensure(){if(B===null){let t=B=new e;!Lt&&!It&&et(()=>{t.#e||t.flush()})}return B}apply(){Pt=null}schedule(e){if(Ft=e,e.b?.is_pending&&e.f&16777228&&!(e.f&32768))e.b.defer_effect(e);else{for(var t=e;t.parent!==null;){t=t.parent;var n=t.f;if(Rt!==null&&t===G&&(W===null||!(W.f&2)))return;if(n&96){if(!(n&1024))return;t.f^=C}}this.#c.push(t)}}#x(){if(this.linked){var e=this.#t,t=this.#n;e===null||(e.#n=t),t===null?Mt=e:t.#t=e,this.linked=!1}}};function Ut(e){var t=It;It=!0;try{var n;for(e&&(B!==null&&!B.is_fork&&B.flush(),n=e());;){if(tt(),B===null)return n;B.flush()}}finally{It=t}}function Wt(){try{ze()}catch(e){Tt(e,Ft)}}var Gt=null;function Kt(e){var t=e.length;if(t!==0){for(var n=0;n<t;){var r=e[n++];if(!(r.f&24576)&&Vn(r)&&(Gt=new Set,Kn(r),r.deps===null&&r.first===null&&r.nodes===null&&r.teardown===null&&r.ac===null&&_r(r),Gt?.size>0)){hn.clear();for(let e of Gt){if(e.f&24576)continue;let t=[e],n=e.parent;for(;n!==null;)Gt.has(n)&&(Gt.delete(n),t.push(n)),n=n.parent;for(let e=t.length-1;e>=0;e--){let n=t[e];n.f&24576||Kn(n)}}Gt.clear()}}Gt=null}}function qt(e){B.schedule(e)}function Jt(e,t){if(!(e.f&32&&e.f&1024)){e.f&2048?t.d.push(e):e.f&4096&&t.m.push(e),z(e,C);for(var n=e.first;n!==null;)Jt(n,t),n=n.next}}function Yt(e){z(e,C);for(var t=e.first;t!==null;)Yt(t),t=t.next}function Xt(e){let t=0,n=_n(0),r;return()=>{tr()&&(q(n),lr(()=>(t===0&&(r=Yn(()=>e(()=>xn(n)))),t+=1,()=>{et(()=>{--t,t===0&&(r?.(),r=void 0,xn(n))})})))}}var Zt=ie|ae;function Qt(e,t,n,r){new $t(e,t,n,r)}var $t=class{parent;is_pending=!1;transform_error;#e;#t=N?P:null;#n;#r;#i;#a=null;#o=null;#s=null;#c=null;#l=0;#u=0;#d=!1;#f=new Set;#p=new Set;#m=null;#h=Xt(()=>(this.#m=_n(this.#l),()=>{this.#m=null}));constructor(e,t,n,r){this.#e=e,this.#n=t,this.#r=e=>{var t=G;t.b=this,t.f|=128,n(e)},this.parent=G.b,this.transform_error=r??this.parent?.transform_error??(e=>e),this.#i=ur(()=>{if(N){let e=this.#t;ot();let t=e.data===`[!`;if(e.data.startsWith(`[?`)){let t=JSON.parse(e.data.slice(2));this.#_(t)}else t?this.#v():this.#g()}else this.#y()},Zt),N&&(this.#e=P)}#g(){try{this.#a=dr(()=>this.#r(this.#e))}catch(e){this.error(e)}}#_(e){let t=this.#n.failed;t&&(this.#s=dr(()=>{t(this.#e,()=>e,()=>()=>{})}))}#v(){let e=this.#n.pending;e&&(this.is_pending=!0,this.#o=dr(()=>e(this.#e)),et(()=>{var e=this.#c=document.createDocumentFragment(),t=gt();e.append(t),this.#a=this.#x(()=>dr(()=>this.#r(t))),this.#u===0&&(this.#e.before(e),this.#c=null,vr(this.#o,()=>{this.#o=null}),this.#b(B))}))}#y(){try{if(this.is_pending=this.has_pending_snippet(),this.#u=0,this.#l=0,this.#a=dr(()=>{this.#r(this.#e)}),this.#u>0){var e=this.#c=document.createDocumentFragment();Sr(this.#a,e);let t=this.#n.pending;this.#o=dr(()=>t(this.#e))}else this.#b(B)}catch(e){this.error(e)}}#b(e){this.is_pending=!1,e.transfer_effects(this.#f,this.#p)}defer_effect(e){kt(e,this.#f,this.#p)}is_rendered(){return!this.is_pending&&(!this.parent||this.parent.is_rendered())}has_pending_snippet(){return!!this.#n.pending}#x(e){var t=G,n=W,r=M;An(this.#i),kn(this.#i),Je(this.#i.ctx);try{return Ht.ensure(),e()}catch(e){return wt(e),null}finally{An(t),kn(n),Je(r)}}#S(e,t){this.has_pending_snippet()?(this.#u+=e,this.#u===0&&(this.#b(t),this.#o&&vr(this.#o,()=>{this.#o=null}),this.#c&&=(this.#e.before(this.#c),null))):this.parent&&this.parent.#S(e,t)}update_pending_count(e,t){this.#S(e,t),this.#l+=e,!(!this.#m||this.#d)&&(this.#d=!0,et(()=>{this.#d=!1,this.#m&&yn(this.#m,this.#l)}))}get_effect_pending(){return this.#h(),q(this.#m)}error(e){if(!this.#n.onerror&&!this.#n.failed)throw e;B?.is_fork?(this.#a&&B.skip_effect(this.#a),this.#o&&B.skip_effect(this.#o),this.#s&&B.skip_effect(this.#s),B.oncommit(()=>{this.#C(e)})):this.#C(e)}#C(e){this.#a&&=(hr(this.#a),null),this.#o&&=(hr(this.#o),null),this.#s&&=(hr(this.#s),null),N&&(F(this.#t),st(),F(ct()));var t=this.#n.onerror;let n=this.#n.failed;var r=!1,i=!1;let a=()=>{r?it():(r=!0,i&&Ge(),this.#s!==null&&vr(this.#s,()=>{this.#s=null}),this.#x(()=>{this.#y()}))},o=e=>{try{i=!0,t?.(e,a),i=!1}catch(e){Tt(e,this.#i&&this.#i.parent)}n&&(this.#s=this.#x(()=>{try{return dr(()=>{var t=G;t.b=this,t.f|=128,n(this.#e,()=>e,()=>a)})}catch(e){return Tt(e,this.#i.parent),null}}))};et(()=>{var t;try{t=this.transform_error(e)}catch(e){Tt(e,this.#i&&this.#i.parent);return}typeof t==`object`&&t&&typeof t.then==`function`?t.then(o,e=>Tt(e,this.#i&&this.#i.parent)):o(t)})}};function en(e,t,n,r){let i=Ze()?an:cn;var a=e.filter(e=>!e.settled);if(n.length===0&&a.length===0){r(t.map(i));return}var o=G,s=tn(),c=a.length===1?a[0].promise:a.length>1?Promise.all(a.map(e=>e.promise)):null;function l(e){if(!(o.f&16384)){s();try{r(e)}catch(e){Tt(e,o)}nn()}}var u=rn();if(n.length===0){c.then(()=>l(t.map(i))).finally(u);return}function d(){Promise.all(n.map(e=>sn(e))).then(e=>l([...t.map(i),...e])).catch(e=>Tt(e,o)).finally(u)}c?c.then(()=>{s(),d(),nn()}):d()}function tn(){var e=G,t=W,n=M,r=B;return function(i=!0){An(e),kn(t),Je(n),i&&!(e.f&16384)&&(r?.activate(),r?.apply())}}function nn(e=!0){An(null),kn(null),Je(null),e&&B?.deactivate()}function rn(){var e=G,t=e.b,n=B,r=!!t?.is_rendered();return t?.update_pending_count(1,n),n.increment(r,e),()=>{t?.update_pending_count(-1,n),n.decrement(r,e)}}function an(e){var t=2|w;return G!==null&&(G.f|=ae),{ctx:M,deps:null,effects:null,equals:Ae,f:t,fn:e,reactions:null,rv:0,v:j,wv:0,parent:G,ac:null}}var on=Symbol(`obsolete`);function sn(e,t,n){let r=G;r===null&&Pe();var i=void 0,a=_n(j),o=!W,s=new Set;return cr(()=>{var t=G,n=ke();i=n.promise;try{Promise.resolve(e()).then(n.resolve,e=>{e!==ge&&n.reject(e)}).finally(nn)}catch(e){n.reject(e),nn()}var c=B;if(o){if(t.f&32768)var l=rn();if(r.b?.is_rendered())c.async_deriveds.get(t)?.reject(on);else for(let e of s.values())e.reject(on);s.add(n),c.async_deriveds.set(t,n)}let u=(e,t=void 0)=>{l?.(),s.delete(n),t!==on&&(c.activate(),t?(a.f|=D,yn(a,t)):(a.f&8388608&&(a.f^=D),yn(a,e)),c.deactivate())};n.promise.then(u,e=>u(null,e||`unknown`))}),nr(()=>{for(let e of s)e.reject(on)}),new Promise(e=>{function t(n){function r(){n===i?e(a):t(i)}n.then(r,r)}t(i)})}function V(e){let t=an(e);return Mn(t),t}function cn(e){let t=an(e);return t.equals=Me,t}function ln(e){var t=e.effects;if(t!==null){e.effects=null;for(var n=0;n<t.length;n+=1)hr(t[n])}}function un(e){var t,n=G,r=e.parent;if(!En&&r!==null&&e.v!==j&&r.f&24576)return nt(),e.v;An(r);try{e.f&=~se,ln(e),t=Un(e)}finally{An(n)}return t}function dn(e){var t=un(e);!e.equals(t)&&(e.wv=Bn(),(!B?.is_fork||e.deps===null)&&(B===null?e.v=t:(B.capture(e,t,!0),Nt?.capture(e,t,!0)),e.deps===null))?z(e,C):En||(Pt===null?Dt(e):(tr()||B?.is_fork)&&Pt.set(e,t))}function fn(e){if(e.effects!==null)for(let t of e.effects)(t.teardown||t.ac)&&(t.teardown?.(),t.ac?.abort(ge),t.fn!==null&&(t.teardown=De),t.ac=null,Gn(t,0),pr(t))}function pn(e){if(e.effects!==null)for(let t of e.effects)t.teardown&&t.fn!==null&&Kn(t)}var mn=new Set,hn=new Map,gn=!1;function _n(e,t){return{f:0,v:e,reactions:null,equals:Ae,rv:0,wv:0}}function H(e,t){let n=_n(e,t);return Mn(n),n}function vn(e,t=!1,n=!0){let r=_n(e);return t||(r.equals=Me),r}function U(e,t,n=!1){return W!==null&&(!On||W.f&131072)&&Ze()&&W.f&4325394&&(jn===null||!jn.has(e))&&We(),yn(e,n?ut(t):t,zt)}function yn(e,t,n=null){if(!e.equals(t)){hn.set(e,En?t:e.v);var r=Ht.ensure();if(r.capture(e,t),e.f&2){let t=e;e.f&2048&&un(t),Pt===null&&Dt(t)}e.wv=Bn(),Sn(e,w,n),Ze()&&G!==null&&G.f&1024&&!(G.f&96)&&(Pn===null?Fn([e]):Pn.push(e)),!r.is_fork&&mn.size>0&&!gn&&bn()}return t}function bn(){gn=!1;for(let e of mn){e.f&1024&&z(e,T);let t;try{t=Vn(e)}catch{t=!0}t&&Kn(e)}mn.clear()}function xn(e){U(e,e.v+1)}function Sn(e,t,n){var r=e.reactions;if(r!==null)for(var i=Ze(),a=r.length,o=0;o<a;o++){var s=r[o],c=s.f;if(i||s!==G){var l=(c&w)===0;if(l&&z(s,t),c&131072)mn.add(s);else if(c&2){var u=s;Pt?.delete(u),c&65536||(c&512&&(G===null||!(G.f&2097152))&&(s.f|=se),Sn(u,T,n))}else if(l){var d=s;c&16&&Gt!==null&&Gt.add(d),n===null?qt(d):n.push(d)}}}}var Cn=null;function wn(e){var t=W,n=G;kn(null),An(null);try{return e()}finally{kn(t),An(n)}}var Tn=!1,En=!1;function Dn(e){En=e}var W=null,On=!1;function kn(e){W=e}var G=null;function An(e){G=e}var jn=null;function Mn(e){W!==null&&(jn??=new Set).add(e)}var K=null,Nn=0,Pn=null;function Fn(e){Pn=e}var In=1,Ln=0,Rn=Ln;function zn(e){Rn=e}function Bn(){return++In}function Vn(e){var t=e.f;if(t&2048)return!0;if(t&2&&(e.f&=~se),t&4096){for(var n=e.deps,r=n.length,i=0;i<r;i++){var a=n[i];if(Vn(a)&&dn(a),a.wv>e.wv)return!0}t&512&&Pt===null&&z(e,C)}return!1}function Hn(e,t,n=!0){var r=e.reactions;if(r!==null&&!(jn!==null&&jn.has(e)))for(var i=0;i<r.length;i++){var a=r[i];a.f&2?Hn(a,t,!1):t===a&&(n?z(a,w):a.f&1024&&z(a,T),qt(a))}}function Un(e){var t=K,n=Nn,r=Pn,i=W,a=jn,o=M,s=On,c=Rn,l=e.f;K=null,Nn=0,Pn=null,W=l&96?null:e,jn=null,Je(e.ctx),On=!1,Rn=++Ln,e.ac!==null&&(wn(()=>{e.ac.abort(ge)}),e.ac=null);try{e.f|=ce;var u=e.fn,d=u();e.f|=ne;var f=e.deps,p=B?.is_fork;if(K!==null){var m;if(p||Gn(e,Nn),f!==null&&Nn>0)for(f.length=Nn+K.length,m=0;m<K.length;m++)f[Nn+m]=K[m];else e.deps=f=K;if(tr()&&e.f&512)for(m=Nn;m<f.length;m++)(f[m].reactions??=[]).push(e)}else!p&&f!==null&&Nn<f.length&&(Gn(e,Nn),f.length=Nn);if(Ze()&&Pn!==null&&!On&&f!==null&&!(e.f&6146))for(m=0;m<Pn.length;m++)Hn(Pn[m],e);if(i!==null&&i!==e){if(Ln++,i.deps!==null)for(let e=0;e<n;e+=1)i.deps[e].rv=Ln;if(t!==null)for(let e of t)e.rv=Ln;Pn!==null&&(r===null?r=Pn:r.push(...Pn))}return e.f&8388608&&(e.f^=D),d}catch(e){return wt(e)}finally{e.f^=ce,K=t,Nn=n,Pn=r,W=i,jn=a,Je(o),On=s,Rn=c}}function Wn(e,t){let n=t.reactions;if(n!==null){var r=ye.call(n,e);if(r!==-1){var i=n.length-1;i===0?n=t.reactions=null:(n[r]=n[i],n.pop())}}if(n===null&&t.f&2&&(K===null||!be.call(K,t))){var a=t;a.f&512&&(a.f^=512,a.f&=~se),a.v!==j&&Dt(a),fn(a),Gn(a,0)}}function Gn(e,t){var n=e.deps;if(n!==null)for(var r=t;r<n.length;r++)Wn(e,n[r])}function Kn(e){var t=e.f;if(!(t&16384)){z(e,C);var n=G,r=Tn;G=e,Tn=!0;try{t&16777232?mr(e):pr(e),fr(e);var i=Un(e);e.teardown=typeof i==`function`?i:null,e.wv=In}finally{Tn=r,G=n}}}function q(e){var t=!!(e.f&2);if(Cn?.add(e),W!==null&&!On&&!(G!==null&&G.f&16384)&&(jn===null||!jn.has(e))){var n=W.deps;if(W.f&2097152)e.rv<Ln&&(e.rv=Ln,K===null&&n!==null&&n[Nn]===e?Nn++:K===null?K=[e]:K.push(e));else{W.deps??=[],be.call(W.deps,e)||W.deps.push(e);var r=e.reactions;r===null?e.reactions=[W]:be.call(r,W)||r.push(W)}}if(En&&hn.has(e))return hn.get(e);if(t){var i=e;if(En){var a=i.v;return(!(i.f&1024)&&i.reactions!==null||Jn(i))&&(a=un(i)),hn.set(i,a),a}var o=!(i.f&512)&&!On&&W!==null&&(Tn||!!(W.f&512)),s=(i.f&ne)===0;Vn(i)&&(o&&(i.f|=512),dn(i)),o&&!s&&(pn(i),qn(i))}if(Pt?.has(e))return Pt.get(e);if(e.f&8388608)throw e.v;return e.v}function qn(e){if(e.f|=512,e.deps!==null)for(let t of e.deps)(t.reactions??=[]).push(e),t.f&2&&!(t.f&512)&&(pn(t),qn(t))}function Jn(e){if(e.v===j)return!0;if(e.deps===null)return!1;for(let t of e.deps)if(hn.has(t)||t.f&2&&Jn(t))return!0;return!1}function Yn(e){var t=On;try{return On=!0,e()}finally{On=t}}function Xn(e){if(!(typeof e!=`object`||!e||e instanceof EventTarget)){if(O in e)Zn(e);else if(!Array.isArray(e))for(let t in e){let n=e[t];typeof n==`object`&&n&&O in n&&Zn(n)}}}function Zn(e,t=new Set){if(typeof e==`object`&&e&&!(e instanceof EventTarget)&&!t.has(e)){t.add(e),e instanceof Date&&e.getTime();for(let n in e)try{Zn(e[n],t)}catch{}let n=Te(e);if(n!==Object.prototype&&n!==Array.prototype&&n!==Map.prototype&&n!==Set.prototype&&n!==Date.prototype){let t=Se(n);for(let n in t){let r=t[n].get;if(r)try{r.call(e)}catch{}}}}}function Qn(e){G===null&&(W===null&&Re(e),Le()),En&&Ie(e)}function $n(e,t){var n=t.last;n===null?t.last=t.first=e:(n.next=e,e.prev=n,t.last=e)}function er(e,t){var n=G;n!==null&&n.f&8192&&(e|=ee);var r={ctx:M,deps:null,nodes:null,f:e|w|512,first:null,fn:t,last:null,next:null,parent:n,b:n&&n.b,prev:null,teardown:null,wv:0,ac:null};B?.register_created_effect(r);var i=r;if(e&4)Rt===null?Ht.ensure().schedule(r):Rt.push(r);else if(t!==null){try{Kn(r)}catch(e){throw hr(r),e}i.deps===null&&i.teardown===null&&i.nodes===null&&i.first===i.last&&!(i.f&524288)&&(i=i.first,e&16&&e&65536&&i!==null&&(i.f|=ie))}if(i!==null&&(i.parent=n,n!==null&&$n(i,n),W!==null&&W.f&2&&!(e&64))){var a=W;(a.effects??=[]).push(i)}return r}function tr(){return W!==null&&!On}function nr(e){let t=er(8,null);return z(t,C),t.teardown=e,t}function rr(e){Qn(`$effect`);var t=G.f;if(!W&&t&32&&M!==null&&!M.i){var n=M;(n.e??=[]).push(e)}else return ir(e)}function ir(e){return er(4|oe,e)}function ar(e){return Qn(`$effect.pre`),er(8|oe,e)}function or(e){Ht.ensure();let t=er(64|ae,e);return(e={})=>new Promise(n=>{e.outro?vr(t,()=>{hr(t),n(void 0)}):(hr(t),n(void 0))})}function sr(e){return er(4,e)}function cr(e){return er(le|ae,e)}function lr(e,t=0){return er(8|t,e)}function J(e,t=[],n=[],r=[]){en(r,t,n,t=>{er(8,()=>e(...t.map(q)))})}function ur(e,t=0){return er(16|t,e)}function dr(e){return er(32|ae,e)}function fr(e){var t=e.teardown;if(t!==null){let e=En,n=W;Dn(!0),kn(null);try{t.call(null)}finally{Dn(e),kn(n)}}}function pr(e,t=!1){var n=e.first;for(e.first=e.last=null;n!==null;){let e=n.ac;e!==null&&wn(()=>{e.abort(ge)});var r=n.next;n.f&64?n.parent=null:hr(n,t),n=r}}function mr(e){for(var t=e.first;t!==null;){var n=t.next;t.f&32||hr(t),t=n}}function hr(e,t=!0){var n=!1;(t||e.f&262144)&&e.nodes!==null&&e.nodes.end!==null&&(gr(e.nodes.start,e.nodes.end),n=!0),z(e,re),pr(e,t&&!n),Gn(e,0);var r=e.nodes&&e.nodes.t;if(r!==null)for(let e of r)e.stop();fr(e),e.f^=re,e.f|=te;var i=e.parent;i!==null&&i.first!==null&&_r(e),e.next=e.prev=e.teardown=e.ctx=e.deps=e.fn=e.nodes=e.ac=e.b=null}function gr(e,t){for(;e!==null;){var n=e===t?null:vt(e);e.remove(),e=n}}function _r(e){var t=e.parent,n=e.prev,r=e.next;n!==null&&(n.next=r),r!==null&&(r.prev=n),t!==null&&(t.first===e&&(t.first=r),t.last===e&&(t.last=n))}function vr(e,t,n=!0){var r=[];yr(e,r,!0);var i=()=>{n&&hr(e),t&&t()},a=r.length;if(a>0){var o=()=>--a||i();for(var s of r)s.out(o)}else i()}function yr(e,t,n){if(!(e.f&8192)){e.f^=ee;var r=e.nodes&&e.nodes.t;if(r!==null)for(let e of r)(e.is_global||n)&&t.push(e);for(var i=e.first;i!==null;){var a=i.next;if(!(i.f&64)){var o=!!(i.f&65536)||!!(i.f&32)&&!!(e.f&16);yr(i,t,o?n:!1)}i=a}}}function br(e){xr(e,!0)}function xr(e,t){if(e.f&8192){e.f^=ee,e.f&1024||(z(e,w),Ht.ensure().schedule(e));for(var n=e.first;n!==null;){var r=n.next,i=!!(n.f&65536)||!!(n.f&32);xr(n,i?t:!1),n=r}var a=e.nodes&&e.nodes.t;if(a!==null)for(let e of a)(e.is_global||t)&&e.in()}}function Sr(e,t){if(e.nodes)for(var n=e.nodes.start,r=e.nodes.end;n!==null;){var i=n===r?null:vt(n);t.append(n),n=i}}var Cr=Symbol(`events`),wr=new Set,Tr=new Set;function Er(e,t,n,r={}){function i(e){if(r.capture||jr.call(t,e),!e.cancelBubble)return wn(()=>n?.call(this,e))}return e.startsWith(`pointer`)||e.startsWith(`touch`)||e===`wheel`?et(()=>{t.addEventListener(e,i,r)}):t.addEventListener(e,i,r),i}function Dr(e,t,n,r,i){var a={capture:r,passive:i},o=Er(e,t,n,a);(t===document.body||t===window||t===document||t instanceof HTMLMediaElement)&&nr(()=>{t.removeEventListener(e,o,a)})}function Or(e,t,n){(t[Cr]??={})[e]=n}function kr(e){for(var t=0;t<e.length;t++)wr.add(e[t]);for(var n of Tr)n(e)}var Ar=null;function jr(e){var t=this,n=t.ownerDocument,r=e.type,i=e.composedPath?.()||[],a=i[0]||e.target;Ar=e;var o=0,s=Ar===e&&e[Cr];if(s){var c=i.indexOf(s);if(c!==-1&&(t===document||t===window)){e[Cr]=t;return}var l=i.indexOf(t);if(l===-1)return;c<=l&&(o=c)}if(a=i[o]||e.target,a!==t){k(e,`currentTarget`,{configurable:!0,get(){return a||n}});var u=W,d=G;kn(null),An(null);try{for(var f,p=[];a!==null&&a!==t;){try{var m=a[Cr]?.[r];m==null||a.disabled&&e.target!==a||m.call(a,e)}catch(e){f?p.push(e):f=e}if(e.cancelBubble)break;o++,a=o<i.length?i[o]:null}if(f){for(let e of p)queueMicrotask(()=>{throw e});throw f}}finally{e[Cr]=t,delete e.currentTarget,kn(u),An(d)}}}var Mr=globalThis?.window?.trustedTypes&&globalThis.window.trustedTypes.createPolicy(`svelte-trusted-html`,{createHTML:e=>e});function Nr(e){return Mr?.createHTML(e)??e}function Pr(e){var t=St(`template`);return t.innerHTML=Nr(e.replaceAll(`<!>`,`<!---->`)),t.content}function Fr(e,t){var n=G;n.nodes===null&&(n.nodes={start:e,end:t,a:null,t:null})}function Ir(e,t){var n=!!(t&1),r=!!(t&2),i,a=!e.startsWith(`<!>`);return()=>{if(N)return Fr(P,null),P;i===void 0&&(i=Pr(a?e:`<!>`+e),n||(i=_t(i)));var t=r||ft?document.importNode(i,!0):i.cloneNode(!0);if(n){var o=_t(t),s=t.lastChild;Fr(o,s)}else Fr(t,t);return t}}function Lr(e,t,n=`svg`){var r=!e.startsWith(`<!>`),i=!!(t&1),a=`<${n}>${r?e:`<!>`+e}</${n}>`,o;return()=>{if(N)return Fr(P,null),P;if(!o){var e=_t(Pr(a));if(i)for(o=document.createDocumentFragment();_t(e);)o.appendChild(_t(e));else o=_t(e)}var t=o.cloneNode(!0);if(i){var n=_t(t),r=t.lastChild;Fr(n,r)}else Fr(t,t);return t}}function Rr(e,t){return Lr(e,t,`svg`)}function zr(){if(N)return Fr(P,null),P;var e=document.createDocumentFragment(),t=document.createComment(``),n=gt();return e.append(t,n),Fr(t,n),e}function Y(e,t){if(N){var n=G;n.f&32768&&n.nodes.end!==null||(n.nodes.end=P),ot()}else e!==null&&e.before(t)}[...`allowfullscreen.async.autofocus.autoplay.checked.controls.default.disabled.formnovalidate.indeterminate.inert.ismap.loop.multiple.muted.nomodule.novalidate.open.playsinline.readonly.required.reversed.seamless.selected.webkitdirectory.defer.disablepictureinpicture.disableremoteplayback`.split(`.`)];var Br=[`touchstart`,`touchmove`];function Vr(e){return Br.includes(e)}function Hr(e,t){var n=t==null?``:typeof t==`object`?`${t}`:t;n!==(e[he]??=e.nodeValue)&&(e[he]=n,e.nodeValue=`${n}`)}function Ur(e,t){return Kr(e,t)}function Wr(e,t){ht(),t.intro=t.intro??!1;let n=t.target,r=N,i=P;try{for(var a=_t(n);a&&(a.nodeType!==8||a.data!==`[`);)a=vt(a);if(!a)throw Ke;at(!0),F(a);let r=Kr(e,{...t,anchor:a});return at(!1),r}catch(r){if(r instanceof Error&&r.message.split(`
`).some(e=>e.startsWith(`https://svelte.dev/e/`)))throw r;return r!==Ke&&console.warn(`Failed to hydrate: `,r),t.recover===!1&&Be(),ht(),bt(n),at(!1),Ur(e,t)}finally{at(r),F(i)}}var Gr=new Map;function Kr(e,{target:t,anchor:n,props:r={},events:i,context:a,intro:o=!0,transformError:s}){ht();var c=void 0,l=or(()=>{var o=n??t.appendChild(gt());Qt(o,{pending:()=>{}},t=>{Ye({});var n=M;if(a&&(n.c=a),i&&(r.$$events=i),N&&Fr(t,null),c=e(t,r)||{},N&&(G.nodes.end=P,P===null||P.nodeType!==8||P.data!==`]`))throw rt(),Ke;Xe()},s);var l=new Set,u=e=>{for(var n=0;n<e.length;n++){var r=e[n];if(!l.has(r)){l.add(r);var i=Vr(r);for(let e of[t,document]){var a=Gr.get(e);a===void 0&&(a=new Map,Gr.set(e,a));var o=a.get(r);o===void 0?(e.addEventListener(r,jr,{passive:i}),a.set(r,1)):a.set(r,o+1)}}}};return u(xe(wr)),Tr.add(u),()=>{for(var e of l)for(let n of[t,document]){var r=Gr.get(n),i=r.get(e);--i==0?(n.removeEventListener(e,jr),r.delete(e),r.size===0&&Gr.delete(n)):r.set(e,i)}Tr.delete(u),o!==n&&o.parentNode?.removeChild(o)}});return qr.set(c,l),c}var qr=new WeakMap;function Jr(e,t){let n=qr.get(e);return n?(qr.delete(e),n(t)):Promise.resolve()}function Yr(e){return new Xr(e)}var Xr=class{#e;#t;constructor(e){var t=new Map,n=(e,n)=>{var r=vn(n,!1,!1);return t.set(e,r),r};let r=new Proxy({...e.props||{},$$events:{}},{get(e,r){return q(t.get(r)??n(r,Reflect.get(e,r)))},has(e,r){return r===ue||(q(t.get(r)??n(r,Reflect.get(e,r))),Reflect.has(e,r))},set(e,r,i){return U(t.get(r)??n(r,i),i),Reflect.set(e,r,i)}});this.#t=(e.hydrate?Wr:Ur)(e.component,{target:e.target,anchor:e.anchor,props:r,context:e.context,intro:e.intro??!1,recover:e.recover,transformError:e.transformError}),e?.props?.$$host&&e.sync!==!1||Ut(),this.#e=r.$$events;for(let e of Object.keys(this.#t))e===`$set`||e===`$destroy`||e===`$on`||k(this,e,{get(){return this.#t[e]},set(t){this.#t[e]=t},enumerable:!0});this.#t.$set=e=>{Object.assign(r,e)},this.#t.$destroy=()=>{Jr(this.#t)}}$set(e){this.#t.$set(e)}$on(e,t){this.#e[e]=this.#e[e]||[];let n=(...e)=>t.call(this,...e);return this.#e[e].push(n),()=>{this.#e[e]=this.#e[e].filter(e=>e!==n)}}$destroy(){this.#t.$destroy()}};typeof window<`u`&&((window.__svelte??={}).v??=new Set).add(`5`);var Zr=class{anchor;#e=new Map;#t=new Map;#n=new Map;#r=new Set;#i=!0;constructor(e,t=!0){this.anchor=e,this.#i=t}#a=e=>{if(this.#e.has(e)){var t=this.#e.get(e),n=this.#t.get(t);if(n)br(n),this.#r.delete(t);else{var r=this.#n.get(t);r&&(br(r.effect),this.#t.set(t,r.effect),this.#n.delete(t),r.fragment.lastChild.remove(),this.anchor.before(r.fragment),n=r.effect)}for(let[t,n]of this.#e){if(this.#e.delete(t),t===e)break;let r=this.#n.get(n);r&&(hr(r.effect),this.#n.delete(n))}for(let[e,r]of this.#t){if(e===t||this.#r.has(e))continue;let i=()=>{if(Array.from(this.#e.values()).includes(e)){var t=document.createDocumentFragment();Sr(r,t),t.append(gt()),this.#n.set(e,{effect:r,fragment:t})}else hr(r);this.#r.delete(e),this.#t.delete(e)};this.#i||!n?(this.#r.add(e),vr(r,i,!1)):i()}}};#o=e=>{this.#e.delete(e);let t=Array.from(this.#e.values());for(let[e,n]of this.#n)t.includes(e)||(hr(n.effect),this.#n.delete(e))};ensure(e,t){var n=B,r=xt();if(t&&!this.#t.has(e)&&!this.#n.has(e)){if(r){var i=document.createDocumentFragment(),a=gt();i.append(a),this.#n.set(e,{effect:dr(()=>t(a)),fragment:i})}else this.#t.set(e,dr(()=>t(this.anchor)))}if(this.#e.set(n,e),r){for(let[t,r]of this.#t)t===e?n.unskip_effect(r):n.skip_effect(r);for(let[t,r]of this.#n)t===e?n.unskip_effect(r.effect):n.skip_effect(r.effect);n.oncommit(this.#a),n.ondiscard(this.#o)}else N&&(this.anchor=P),this.#a(n)}};function Qr(e){M===null&&Ne(`onMount`),rr(()=>{let t=Yn(e);if(typeof t==`function`)return t})}function $r(e){M===null&&Ne(`onDestroy`),Qr(()=>()=>Yn(e))}function X(e,t,n=!1){var r;N&&(r=P,ot());var i=new Zr(e),a=n?ie:0;function o(e,t){if(N){var n=lt(r);if(e!==parseInt(n.substring(1))){var a=ct();F(a),i.anchor=a,at(!1),i.ensure(e,t),at(!0);return}}i.ensure(e,t)}ur(()=>{var e=!1;t((t,n=0)=>{e=!0,o(n,t)}),e||o(-1,null)},a)}var ei=Symbol(`NaN`);function ti(e,t,n){N&&ot();var r=new Zr(e),i=!Ze();ur(()=>{var e=t();e!==e&&(e=ei),i&&typeof e==`object`&&e&&(e={}),r.ensure(e,n)})}function ni(e,t){return t}function ri(e,t,n){for(var r=[],i=t.length,a,o=t.length,s=0;s<i;s++){let n=t[s];vr(n,()=>{if(a){if(a.pending.delete(n),a.done.add(n),a.pending.size===0){var t=e.outrogroups;ii(e,xe(a.done)),t.delete(a),t.size===0&&(e.outrogroups=null)}}else--o},!1)}if(o===0){var c=r.length===0&&n!==null;if(c){var l=n,u=l.parentNode;bt(u),u.append(l),e.items.clear()}ii(e,t,!c)}else a={pending:new Set(t),done:new Set},(e.outrogroups??=new Set).add(a)}function ii(e,t,n=!0){var r;if(e.pending.size>0){r=new Set;for(let t of e.pending.values())for(let n of t)r.add(e.items.get(n).e)}for(var i=0;i<t.length;i++){var a=t[i];r?.has(a)?(a.f|=E,Sr(a,document.createDocumentFragment())):hr(t[i],n)}}var ai;function oi(e,t,n,r,i,a=null){var o=e,s=new Map;if(t&4){var c=e;o=N?F(_t(c)):c.appendChild(gt())}N&&ot();var l=null,u=cn(()=>{var e=n();return ve(e)?e:e==null?[]:xe(e)}),d,f=new Map,p=!0;function m(e){g.effect.f&16384||(g.pending.delete(e),g.fallback=l,ci(g,d,o,t,r),l!==null&&(d.length===0?l.f&33554432?(l.f^=E,ui(l,null,o)):br(l):vr(l,()=>{l=null})))}function h(e){g.pending.delete(e)}var g={effect:ur(()=>{d=q(u);var e=d.length;let c=!1;N&&lt(o)===`[!`!=(e===0)&&(o=ct(),F(o),at(!1),c=!0);for(var g=new Set,_=B,v=xt(),y=0;y<e;y+=1){N&&P.nodeType===8&&P.data===`]`&&(o=P,c=!0,at(!1));var b=d[y],x=r(b,y),S=p?null:s.get(x);S?(S.v&&yn(S.v,b),S.i&&yn(S.i,y),v&&_.unskip_effect(S.e)):(S=li(s,p?o:ai??=gt(),b,x,y,i,t,n),p||(S.e.f|=E),s.set(x,S)),g.add(x)}if(e===0&&a&&!l&&(p?l=dr(()=>a(o)):(l=dr(()=>a(ai??=gt())),l.f|=E)),e>g.size&&Fe(``,``,``),N&&e>0&&F(ct()),!p){if(f.set(_,g),v){for(let[e,t]of s)g.has(e)||_.skip_effect(t.e);_.oncommit(m),_.ondiscard(h)}else m(_)}c&&at(!0),q(u)}),flags:t,items:s,pending:f,outrogroups:null,fallback:l};p=!1,N&&(o=P)}function si(e){for(;e!==null&&!(e.f&32);)e=e.next;return e}function ci(e,t,n,r,i){var a=!!(r&8),o=t.length,s=e.items,c=si(e.effect.first),l,u=null,d,f=[],p=[],m,h,g,_;if(a)for(_=0;_<o;_+=1)m=t[_],h=i(m,_),g=s.get(h).e,g.f&33554432||(g.nodes?.a?.measure(),(d??=new Set).add(g));for(_=0;_<o;_+=1){if(m=t[_],h=i(m,_),g=s.get(h).e,e.outrogroups!==null)for(let t of e.outrogroups)t.pending.delete(g),t.done.delete(g);if(g.f&8192&&(br(g),a&&(g.nodes?.a?.unfix(),(d??=new Set).delete(g))),g.f&33554432){if(g.f^=E,g===c)ui(g,null,n);else{var v=u?u.next:c;g===e.effect.last&&(e.effect.last=g.prev),g.prev&&(g.prev.next=g.next),g.next&&(g.next.prev=g.prev),di(e,u,g),di(e,g,v),ui(g,v,n),u=g,f=[],p=[],c=si(u.next);continue}}if(g!==c){if(l!==void 0&&l.has(g)){if(f.length<p.length){var y=p[0],b;u=y.prev;var x=f[0],S=f[f.length-1];for(b=0;b<f.length;b+=1)ui(f[b],y,n);for(b=0;b<p.length;b+=1)l.delete(p[b]);di(e,x.prev,S.next),di(e,u,x),di(e,S,y),c=y,u=S,--_,f=[],p=[]}else l.delete(g),ui(g,c,n),di(e,g.prev,g.next),di(e,g,u===null?e.effect.first:u.next),di(e,u,g),u=g;continue}for(f=[],p=[];c!==null&&c!==g;)(l??=new Set).add(c),p.push(c),c=si(c.next);if(c===null)continue}g.f&33554432||f.push(g),u=g,c=si(g.next)}if(e.outrogroups!==null){for(let t of e.outrogroups)t.pending.size===0&&(ii(e,xe(t.done)),e.outrogroups?.delete(t));e.outrogroups.size===0&&(e.outrogroups=null)}if(c!==null||l!==void 0){var C=[];if(l!==void 0)for(g of l)g.f&8192||C.push(g);for(;c!==null;)!(c.f&8192)&&c!==e.fallback&&C.push(c),c=si(c.next);var w=C.length;if(w>0){var T=r&4&&o===0?n:null;if(a){for(_=0;_<w;_+=1)C[_].nodes?.a?.measure();for(_=0;_<w;_+=1)C[_].nodes?.a?.fix()}ri(e,C,T)}}a&&et(()=>{if(d!==void 0)for(g of d)g.nodes?.a?.apply()})}function li(e,t,n,r,i,a,o,s){var c=o&1?o&16?_n(n):vn(n,!1,!1):null,l=o&2?_n(i):null;return{v:c,i:l,e:dr(()=>(a(t,c??n,l??i,s),()=>{e.delete(r)}))}}function ui(e,t,n){if(e.nodes)for(var r=e.nodes.start,i=e.nodes.end,a=t&&!(t.f&33554432)?t.nodes.start:n;r!==null;){var o=vt(r);if(a.before(r),r===i)return;r=o}}function di(e,t,n){t===null?e.effect.first=n:t.next=n,n===null?e.effect.last=t:n.prev=t}function fi(e,t,n){sr(()=>{var r=Yn(()=>t(e,n?.())||{});if(n&&r?.update){var i=!1,a={};lr(()=>{var e=n();Xn(e),i&&je(a,e)&&(a=e,r.update(e))}),i=!0}if(r?.destroy)return()=>r.destroy()})}function pi(e,t=!1){var n=t?` !important;`:`;`,r=``;for(var i of Object.keys(e)){var a=e[i];a!=null&&a!==``&&(r+=` `+i+`: `+a+n)}return r}function mi(e){return e[0]!==`-`||e[1]!==`-`?e.toLowerCase():e}function hi(e,t){if(t){var n=``,r,i;if(Array.isArray(t)?(r=t[0],i=t[1]):r=t,e){e=String(e).replaceAll(/\s*\/\*.*?\*\/\s*/g,``).trim();var a=!1,o=0,s=!1,c=[];r&&c.push(...Object.keys(r).map(mi)),i&&c.push(...Object.keys(i).map(mi));var l=0,u=-1;let t=e.length;for(var d=0;d<t;d++){var f=e[d];if(s?f===`/`&&e[d-1]===`*`&&(s=!1):a?a===f&&(a=!1):f===`/`&&e[d+1]===`*`?s=!0:f===`"`||f===`'`?a=f:f===`(`?o++:f===`)`&&o--,!s&&a===!1&&o===0){if(f===`:`&&u===-1)u=d;else if(f===`;`||d===t-1){if(u!==-1){var p=mi(e.substring(l,u).trim());if(!c.includes(p)){f!==`;`&&d++;var m=e.substring(l,d).trim();n+=` `+m+`;`}}l=d+1,u=-1}}}}return r&&(n+=pi(r)),i&&(n+=pi(i,!0)),n=n.trim(),n===``?null:n}return e==null?null:String(e)}function gi(e,t={},n,r){for(var i in n){var a=n[i];t[i]!==a&&(n[i]==null?e.style.removeProperty(i):e.style.setProperty(i,a,r))}}function Z(e,t,n,r){var i=e[me];if(N||i!==t){var a=hi(t,r);N&&a===e.getAttribute(`style`)||(a==null?e.removeAttribute(`style`):e.style.cssText=a),e[me]=t}else r&&(Array.isArray(r)?(gi(e,n?.[0],r[0]),gi(e,n?.[1],r[1],`important`)):gi(e,n,r));return r}var _i=Symbol(`is custom element`),vi=Symbol(`is html`),yi=_e?`link`:`LINK`;function Q(e,t,n,r){var i=bi(e);N&&(i[t]=e.getAttribute(t),t===`src`||t===`srcset`||t===`href`&&e.nodeName===yi)||i[t]!==(i[t]=n)&&(t===`loading`&&(e[de]=n),n==null?e.removeAttribute(t):typeof n!=`string`&&Si(e).includes(t)?e[t]=n:e.setAttribute(t,n))}function bi(e){return e[fe]??={[_i]:e.nodeName.includes(`-`),[vi]:e.namespaceURI===qe}}var xi=new Map;function Si(e){var t=e.getAttribute(`is`)||e.nodeName,n=xi.get(t);if(n)return n;xi.set(t,n=[]);for(var r,i=e,a=Element.prototype;a!==i;){for(var o in r=Se(i),r)r[o].set&&o!==`innerHTML`&&o!==`textContent`&&o!==`innerText`&&n.push(o);i=Te(i)}return n}function Ci(e,t){return e===t||e?.[O]===t}function wi(e={},t,n,r){var i=M.r,a=G;return sr(()=>{var o,s;return lr(()=>{o=s,s=r?.()||[],Yn(()=>{Ci(n(...s),e)||(t(e,...s),o&&Ci(n(...o),e)&&t(null,...o))})}),()=>{let r=a;for(;r!==i&&r.parent!==null&&r.parent.f&33554432;)r=r.parent;let o=()=>{s&&Ci(n(...s),e)&&t(null,...s)},c=r.teardown;r.teardown=()=>{o(),c?.()}}}),e}function $(e,t,n,r){var i=!0,a=!!(n&8),o=!!(n&16),s=r,c=!0,l=void 0,u=()=>o&&i?(l??=an(r),q(l)):(c&&(c=!1,s=o?Yn(r):r),s);let d;if(a){var f=O in e||ue in e;d=A(e,t)?.set??(f&&t in e?n=>e[t]=n:void 0)}var p,m=!1;a?[p,m]=jt(()=>e[t]):p=e[t],p===void 0&&r!==void 0&&(p=u(),d&&(i&&Ve(t),d(p)));var h=i?()=>{var n=e[t];return n===void 0?u():(c=!0,n)}:()=>{var n=e[t];return n!==void 0&&(s=void 0),n===void 0?s:n};if(i&&!(n&4))return h;if(d){var g=e.$$legacy;return(function(e,t){return arguments.length>0?((!i||!t||g||m)&&d(t?h():e),e):h()})}var _=!1,v=(n&1?an:cn)(()=>(_=!1,h()));a&&q(v);var y=G;return(function(e,t){if(arguments.length>0){let n=t?q(v):i&&a?ut(e):e;return U(v,n),_=!0,s!==void 0&&(s=n),e}return En&&_||y.f&16384?v.v:q(v)})}var Ti=Rr(`<g><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect><rect role="none"></rect></g>`);function Ei(e,t){Ye(t,!0);let n=V(()=>t.pointLocation(t.value.xMin,t.value.yMin)),r=V(()=>t.pointLocation(t.value.xMax,t.value.yMax));function i(e){return i=>{t.preventHover(!0);let a=[q(n).x,q(n).y,q(r).x,q(r).y];return{move:n=>{let r=n.pageX-i.pageX,o=n.pageY-i.pageY,s=[r,o,r,o].map((t,n)=>a[n]+t*e[n]),c=t.coordinateAtPoint(s[0],s[1]),l=t.coordinateAtPoint(s[2],s[3]);t.onChange({xMin:Math.min(c.x,l.x),xMax:Math.max(c.x,l.x),yMin:Math.min(c.y,l.y),yMax:Math.max(c.y,l.y)})},up:()=>{t.preventHover(!1)},cancel:()=>{t.preventHover(!1)}}}}var a=Ti(),s=L(a);Z(s,``,{},{stroke:`#fff`,fill:`rgba(128,128,128,0.25)`,cursor:`move`}),fi(s,(e,t)=>o?.(e,t),()=>({drag:i([1,1,1,1])}));var c=R(s);Q(c,`width`,8),Z(c,``,{},{cursor:`ew-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(c,(e,t)=>o?.(e,t),()=>({drag:i([1,0,0,0])}));var l=R(c);Q(l,`width`,8),Z(l,``,{},{cursor:`ew-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(l,(e,t)=>o?.(e,t),()=>({drag:i([0,0,1,0])}));var u=R(l);Q(u,`height`,8),Z(u,``,{},{cursor:`ns-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(u,(e,t)=>o?.(e,t),()=>({drag:i([0,1,0,0])}));var d=R(u);Q(d,`height`,8),Z(d,``,{},{cursor:`ns-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(d,(e,t)=>o?.(e,t),()=>({drag:i([0,0,0,1])}));var f=R(d);Q(f,`width`,8),Q(f,`height`,8),Z(f,``,{},{cursor:`nesw-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(f,(e,t)=>o?.(e,t),()=>({drag:i([1,1,0,0])}));var p=R(f);Q(p,`width`,8),Q(p,`height`,8),Z(p,``,{},{cursor:`nwse-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(p,(e,t)=>o?.(e,t),()=>({drag:i([1,0,0,1])}));var m=R(p);Q(m,`width`,8),Q(m,`height`,8),Z(m,``,{},{cursor:`nwse-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(m,(e,t)=>o?.(e,t),()=>({drag:i([0,1,1,0])}));var h=R(m);Q(h,`width`,8),Q(h,`height`,8),Z(h,``,{},{cursor:`nesw-resize`,stroke:`none`,fill:`none`,"pointer-events":`all`}),fi(h,(e,t)=>o?.(e,t),()=>({drag:i([0,0,1,1])})),I(a),J((e,t,i,a,o,g,_,v,y,b,x,S)=>{Q(s,`x`,e),Q(s,`width`,t),Q(s,`y`,i),Q(s,`height`,a),Q(c,`x`,q(n).x-4),Q(c,`y`,o),Q(c,`height`,g),Q(l,`x`,q(r).x-4),Q(l,`y`,_),Q(l,`height`,v),Q(u,`x`,y),Q(u,`width`,b),Q(u,`y`,q(n).y-4),Q(d,`x`,x),Q(d,`width`,S),Q(d,`y`,q(r).y-4),Q(f,`x`,q(n).x-4),Q(f,`y`,q(n).y-4),Q(p,`x`,q(n).x-4),Q(p,`y`,q(r).y-4),Q(m,`x`,q(r).x-4),Q(m,`y`,q(n).y-4),Q(h,`x`,q(r).x-4),Q(h,`y`,q(r).y-4)},[()=>Math.min(q(n).x,q(r).x),()=>Math.abs(q(n).x-q(r).x),()=>Math.min(q(n).y,q(r).y),()=>Math.abs(q(n).y-q(r).y),()=>Math.min(q(n).y,q(r).y),()=>Math.abs(q(n).y-q(r).y),()=>Math.min(q(n).y,q(r).y),()=>Math.abs(q(n).y-q(r).y),()=>Math.min(q(n).x,q(r).x),()=>Math.abs(q(n).x-q(r).x),()=>Math.min(q(n).x,q(r).x),()=>Math.abs(q(n).x-q(r).x)]),Y(e,a),Xe()}function Di(e,t){let n=!1,r,i,a,o=async t=>{n=!0;try{await e(t)}catch(e){console.error(e)}finally{n=!1}if(r!==void 0){let e=r;r=void 0,s(e)}},s=async e=>{if(n){r=e;return}let s=new Date().getTime();t()&&(i=s);let c=!0;(i==null||s-i<300)&&(c=!1),c?(a&&clearTimeout(a),a=setTimeout(()=>o(e),300)):o(e)};return s}function Oi(e,t){let n=e.x-t.x,r=e.y-t.y;return Math.sqrt(n*n+r*r)}function ki(e){return`M `+e.map(({x:e,y:t})=>`${e},${t}`).join(` L `)+` Z`}function Ai(e){let t=1/0,n=-1/0,r=1/0,i=-1/0;for(let{x:a,y:o}of e)t=Math.min(t,a),r=Math.min(r,o),n=Math.max(n,a),i=Math.max(i,o);return{xMin:t,yMin:r,xMax:n,yMax:i}}var ji=Rr(`<path></path>`);function Mi(e,t){Ye(t,!0);let n=V(()=>t.value.map(({x:e,y:n})=>t.pointLocation(e,n)));var r=ji();Z(r,``,{},{stroke:`#fff`,fill:`rgba(128,128,128,0.25)`}),J(e=>Q(r,`d`,e),[()=>ki(q(n))]),Y(e,r),Xe()}var Ni={marquee:`M7 5a2 2 0 1 1-4 0a2 2 0 0 1 4 0m1-.25c0 .414.336.75.75.75h6.5a.75.75 0 0 0 0-1.5h-6.5a.75.75 0 0 0-.75.75M4.75 8a.75.75 0 0 0-.75.75v6.5a.75.75 0 0 0 1.5 0v-6.5A.75.75 0 0 0 4.75 8m14.5 0a.75.75 0 0 0-.75.75v6.5a.75.75 0 0 0 1.5 0v-6.5a.75.75 0 0 0-.75-.75M8.75 20a.75.75 0 0 1 0-1.5h6.5a.75.75 0 0 1 0 1.5zM5 21a2 2 0 1 0 0-4a2 2 0 0 0 0 4M21 5a2 2 0 1 1-4 0a2 2 0 0 1 4 0m-2 16a2 2 0 1 0 0-4a2 2 0 0 0 0 4`,lasso:`M9.703 2.265A10 10 0 0 1 12 2c.79 0 1.559.092 2.297.265a.75.75 0 1 1-.343 1.46A8.5 8.5 0 0 0 12 3.5a8.6 8.6 0 0 0-1.954.225a.75.75 0 1 1-.343-1.46m-1.93 1.47a.75.75 0 0 1-.242 1.033a8.55 8.55 0 0 0-2.763 2.763a.75.75 0 1 1-1.275-.79a10.05 10.05 0 0 1 3.248-3.248a.75.75 0 0 1 1.032.243m8.454 0a.75.75 0 0 1 1.032-.242a10.05 10.05 0 0 1 3.248 3.248a.75.75 0 1 1-1.275.79a8.55 8.55 0 0 0-2.763-2.763a.75.75 0 0 1-.242-1.032m-13.06 5.41a.75.75 0 0 1 .558.901A8.5 8.5 0 0 0 3.5 12c0 .673.078 1.327.225 1.954a.75.75 0 1 1-1.46.343A10 10 0 0 1 2 12c0-.79.092-1.559.265-2.297a.75.75 0 0 1 .902-.559m17.666 0a.75.75 0 0 1 .902.558a10.1 10.1 0 0 1 0 4.595a.75.75 0 1 1-1.46-.343a8.54 8.54 0 0 0-.001-3.908a.75.75 0 0 1 .559-.902M3.736 16.226a.75.75 0 0 1 1.032.242a8.55 8.55 0 0 0 2.763 2.763a.75.75 0 0 1-.79 1.275a10.05 10.05 0 0 1-3.248-3.248a.75.75 0 0 1 .243-1.032m16.685.858a.75.75 0 1 0-1.342-.67l-.002.004l-.015.029l-.069.123a8 8 0 0 1-.289.466a9.6 9.6 0 0 1-.965 1.219c-1.17-1.073-2.756-2.006-4.74-2.006c-2.347 0-3.99 1.203-3.99 2.875S10.653 22 13 22c1.942 0 3.495-.75 4.658-1.645a11.7 11.7 0 0 1 1.315 2.01q.05.099.073.149l.017.035l.004.009a.75.75 0 0 0 1.368-.615c-.087-.183 0-.001 0-.001v-.002l-.003-.004l-.007-.015l-.024-.052l-.091-.184a13.2 13.2 0 0 0-1.538-2.337a11 11 0 0 0 1.525-2.032l.09-.162l.024-.047l.007-.014l.002-.005zM13 17.75c1.433 0 2.644.652 3.616 1.512c-.95.7-2.155 1.238-3.616 1.238c-1.973 0-2.49-.922-2.49-1.375s.517-1.375 2.49-1.375`},Pi=Rr(`<svg width="24" height="24" viewBox="0 0 24 24"><path></path></svg>`),Fi=Ir(`<button><!></button>`);function Ii(e,t){let n=$(t,`active`,3,!1);var r=Fi();let i;var a=L(r),o=e=>{var n=Pi();Z(n,``,{},{width:`14px`,height:`14px`});var r=L(n);Z(r,``,{},{fill:`currentColor`}),I(n),J(()=>Q(r,`d`,Ni[t.icon])),Y(e,n)};X(a,e=>{t.icon!=null&&e(o)}),I(r),J(()=>{Q(r,`title`,t.title),i=Z(r,``,i,{border:`none`,appearance:`none`,background:n()?`color-mix(in srgb, currentColor 20%, transparent)`:`none`,"border-radius":`2px`,height:`16px`,width:`16px`,padding:`0`,margin:`0`,"font-family":`inherit`,"font-size":`1em`,color:`currentColor`,display:`flex`,"flex-direction":`row`,"align-items":`center`,"justify-content":`center`})}),Or(`click`,r,function(...e){t.onClick?.apply(this,e)}),Y(e,r)}kr([`click`]);var Li=Ir(`<div><div> </div> <svg height="6px"><line shape-rendering="crispEdges"></line><line shape-rendering="crispEdges"></line><line shape-rendering="crispEdges"></line></svg></div>`);function Ri(e,t){function n(e,t){let n=Math.log10(t*e),r=Math.round(n),i=[.1,.2,.5,1,2,5,10],a=0,o=1e10;for(let e of i){let t=Math.abs(Math.log10(e)+r-n);t<o&&(a=e,o=t)}return a*10**r}let r=V(()=>n(t.distancePerPoint,30)),i=V(()=>q(r)/t.distancePerPoint);var a=Li();Z(a,``,{},{display:`flex`,"align-items":`center`});var o=L(a);Z(o,``,{},{"padding-right":`4px`});var s=L(o,!0);I(o);var c=R(o,2),l=L(c);Q(l,`x1`,1),Q(l,`y1`,3),Q(l,`y2`,3),Z(l,``,{},{stroke:`currentColor`,"stroke-width":`2`,"stroke-cap":`butt`});var u=R(l);Q(u,`x1`,1),Q(u,`x2`,1),Q(u,`y1`,0),Q(u,`y2`,6),Z(u,``,{},{stroke:`currentColor`});var d=R(u);Q(d,`y1`,0),Q(d,`y2`,6),Z(d,``,{},{stroke:`currentColor`}),I(c),I(a),J(e=>{Hr(s,e),Q(c,`width`,`${q(i)+2}px`),Q(l,`x2`,q(i)+1),Q(d,`x1`,q(i)+1),Q(d,`x2`,q(i)+1)},[()=>q(r).toLocaleString()]),Y(e,a)}var zi=Ir(`<div> </div>`),Bi=Ir(`<a target="_blank" rel="noopener noreferrer"> </a> <div style="border-right: 1px solid currentColor; margin: 4px 2px; opacity: 0.3; width: 0; height: 10px"></div>`,1),Vi=Ir(`<div><div><!></div> <div></div> <div><!> <!> <!> <div style="border-right: 1px solid currentColor; margin: 4px 2px; opacity: 0.3; width: 0; height: 10px"></div> <!> <div style="border-right: 1px solid currentColor; margin: 4px 2px; opacity: 0.3; width: 0; height: 10px"></div> <span> </span></div></div>`);function Hi(e,t){Ye(t,!0);let n=$(t,`statusMessage`,3,null);var r=Vi();let i;var a=L(r);let o;var s=L(a),c=e=>{var t=zi();Z(t,``,{},{display:`inline-block`});var r=L(t,!0);I(t),J(()=>Hr(r,n())),Y(e,t)};X(s,e=>{n()!=null&&e(c)}),I(a);var l=R(a,2);Z(l,``,{},{flex:`1 1 0%`});var u=R(l,2);let d;var f=L(u),p=e=>{var n=Bi(),r=yt(n);Z(r,``,{},{color:`currentColor`,"text-decoration":`underline`});var i=L(r,!0);I(r),st(2),J(()=>{Q(r,`href`,t.resolvedTheme.brandingLink.href),Hr(i,t.resolvedTheme.brandingLink.text)}),Y(e,n)};X(f,e=>{t.resolvedTheme.brandingLink!=null&&e(p)});var m=R(f,2);{let e=V(()=>t.selectionMode==`marquee`);Ii(m,{icon:`marquee`,get active(){return q(e)},title:`Toggle rectangle selection mode. In normal mode, use shift + drag for rectangle selection.`,onClick:()=>t.onSelectionMode(t.selectionMode==`marquee`?`none`:`marquee`)})}var h=R(m,2);{let e=V(()=>t.selectionMode==`lasso`);Ii(h,{icon:`lasso`,get active(){return q(e)},title:`Toggle lasso selection mode. In normal mode, use shift + meta + drag for lasso selection.`,onClick:()=>t.onSelectionMode(t.selectionMode==`lasso`?`none`:`lasso`)})}var g=R(h,4);Ri(g,{get distancePerPoint(){return t.distancePerPoint}});var _=R(g,4),v=L(_);I(_),I(u),I(r),J(e=>{i=Z(r,``,i,{"font-size":`12px`,"line-height":`20px`,height:`20px`,color:t.resolvedTheme.statusBarTextColor,position:`absolute`,bottom:`0px`,left:`0px`,right:`0px`,"user-select":`none`,"font-family":t.resolvedTheme.fontFamily,display:`flex`,"flex-direction":`row`}),o=Z(a,``,o,{flex:`none`,display:`flex`,"flex-direction":`row`,gap:`4px`,padding:`0px 4px`,"border-radius":`2px`,background:t.resolvedTheme.statusBarBackgroundColor}),d=Z(u,``,d,{flex:`none`,display:`flex`,"flex-direction":`row`,"align-items":`center`,gap:`4px`,padding:`0px 4px`,"border-radius":`2px`,background:t.resolvedTheme.statusBarBackgroundColor}),Hr(v,`${e??``} points`)},[()=>t.pointCount.toLocaleString()]),Y(e,r),Xe()}function Ui(e){return(t,n)=>{let r=new e(t,n);return{...r.update?{update:r.update.bind(r)}:{},...r.destroy?{destroy:r.destroy.bind(r)}:{}}}}var Wi=new WeakMap;function Gi(e){let t=typeof e==`function`?e:e.class;if(Wi.has(t))return Wi.get(t);{let e=Ui(t);return Wi.set(t,e),e}}function Ki(e,t){return typeof e==`function`?t:{...e.props??{},...t}}var qi=Ir(`<div><div></div></div>`);function Ji(e,t){Ye(t,!0);let n=$(t,`margin`,3,4),r,i,a=V(()=>Gi(t.customTooltip)),o=V(()=>Ki(t.customTooltip,{tooltip:t.tooltip}));Qr(()=>{ar(()=>{let e=q(a),s=null;return ar(()=>{i.style.left=`0px`,i.style.top=`0px`,i.style.pointerEvents=t.allowInteraction?`all`:`none`,s==null?s=e(i,q(o)):s.update?.(q(o));function a(e,r,a,o){let s=t.location.x,c=t.location.y,l=e/2,u=r+(t.targetHeight+n());s-l<a&&(l=s-a),s-l>o-e&&(l=s-o+e),c-u<2&&(u=-(t.targetHeight+n())),i.style.left=s-l+`px`,i.style.top=c-u+`px`}let c=r.getBoundingClientRect(),{width:l,height:u}=i.getBoundingClientRect();a(l,u,2,c.width-2);let d=requestAnimationFrame(()=>{d=null;let e=i.getBoundingClientRect();(e.width!=l||e.height!=u)&&a(e.width,e.height,2,c.width-2)});return()=>{d!=null&&cancelAnimationFrame(d)}}),()=>{s?.destroy?.(),i.replaceChildren()}})});var s=qi();Z(s,``,{},{position:`absolute`,width:`100%`});var c=L(s);Z(c,``,{},{display:`flex`,position:`absolute`,width:`fit-content`,height:`fit-content`,"z-index":`100`}),wi(c,e=>i=e,()=>i),I(s),wi(s,e=>r=e,()=>r),Y(e,s),Xe()}function Yi(e,t,n){e.prototype=t.prototype=n,n.constructor=e}function Xi(e,t){var n=Object.create(e.prototype);for(var r in t)n[r]=t[r];return n}function Zi(){}var Qi=.7,$i=1/Qi,ea=`\\s*([+-]?\\d+)\\s*`,ta=`\\s*([+-]?(?:\\d*\\.)?\\d+(?:[eE][+-]?\\d+)?)\\s*`,na=`\\s*([+-]?(?:\\d*\\.)?\\d+(?:[eE][+-]?\\d+)?)%\\s*`,ra=/^#([0-9a-f]{3,8})$/,ia=RegExp(`^rgb\\(${ea},${ea},${ea}\\)$`),aa=RegExp(`^rgb\\(${na},${na},${na}\\)$`),oa=RegExp(`^rgba\\(${ea},${ea},${ea},${ta}\\)$`),sa=RegExp(`^rgba\\(${na},${na},${na},${ta}\\)$`),ca=RegExp(`^hsl\\(${ta},${na},${na}\\)$`),la=RegExp(`^hsla\\(${ta},${na},${na},${ta}\\)$`),ua={aliceblue:15792383,antiquewhite:16444375,aqua:65535,aquamarine:8388564,azure:15794175,beige:16119260,bisque:16770244,black:0,blanchedalmond:16772045,blue:255,blueviolet:9055202,brown:10824234,burlywood:14596231,cadetblue:6266528,chartreuse:8388352,chocolate:13789470,coral:16744272,cornflowerblue:6591981,cornsilk:16775388,crimson:14423100,cyan:65535,darkblue:139,darkcyan:35723,darkgoldenrod:12092939,darkgray:11119017,darkgreen:25600,darkgrey:11119017,darkkhaki:12433259,darkmagenta:9109643,darkolivegreen:5597999,darkorange:16747520,darkorchid:10040012,darkred:9109504,darksalmon:15308410,darkseagreen:9419919,darkslateblue:4734347,darkslategray:3100495,darkslategrey:3100495,darkturquoise:52945,darkviolet:9699539,deeppink:16716947,deepskyblue:49151,dimgray:6908265,dimgrey:6908265,dodgerblue:2003199,firebrick:11674146,floralwhite:16775920,forestgreen:2263842,fuchsia:16711935,gainsboro:14474460,ghostwhite:16316671,gold:16766720,goldenrod:14329120,gray:8421504,green:32768,greenyellow:11403055,grey:8421504,honeydew:15794160,hotpink:16738740,indianred:13458524,indigo:4915330,ivory:16777200,khaki:15787660,lavender:15132410,lavenderblush:16773365,lawngreen:8190976,lemonchiffon:16775885,lightblue:11393254,lightcoral:15761536,lightcyan:14745599,lightgoldenrodyellow:16448210,lightgray:13882323,lightgreen:9498256,lightgrey:13882323,lightpink:16758465,lightsalmon:16752762,lightseagreen:2142890,lightskyblue:8900346,lightslategray:7833753,lightslategrey:7833753,lightsteelblue:11584734,lightyellow:16777184,lime:65280,limegreen:3329330,linen:16445670,magenta:16711935,maroon:8388608,mediumaquamarine:6737322,mediumblue:205,mediumorchid:12211667,mediumpurple:9662683,mediumseagreen:3978097,mediumslateblue:8087790,mediumspringgreen:64154,mediumturquoise:4772300,mediumvioletred:13047173,midnightblue:1644912,mintcream:16121850,mistyrose:16770273,moccasin:16770229,navajowhite:16768685,navy:128,oldlace:16643558,olive:8421376,olivedrab:7048739,orange:16753920,orangered:16729344,orchid:14315734,palegoldenrod:15657130,palegreen:10025880,paleturquoise:11529966,palevioletred:14381203,papayawhip:16773077,peachpuff:16767673,peru:13468991,pink:16761035,plum:14524637,powderblue:11591910,purple:8388736,rebeccapurple:6697881,red:16711680,rosybrown:12357519,royalblue:4286945,saddlebrown:9127187,salmon:16416882,sandybrown:16032864,seagreen:3050327,seashell:16774638,sienna:10506797,silver:12632256,skyblue:8900331,slateblue:6970061,slategray:7372944,slategrey:7372944,snow:16775930,springgreen:65407,steelblue:4620980,tan:13808780,teal:32896,thistle:14204888,tomato:16737095,turquoise:4251856,violet:15631086,wheat:16113331,white:16777215,whitesmoke:16119285,yellow:16776960,yellowgreen:10145074};Yi(Zi,ha,{copy(e){return Object.assign(new this.constructor,this,e)},displayable(){return this.rgb().displayable()},hex:da,formatHex:da,formatHex8:fa,formatHsl:pa,formatRgb:ma,toString:ma});function da(){return this.rgb().formatHex()}function fa(){return this.rgb().formatHex8()}function pa(){return Oa(this).formatHsl()}function ma(){return this.rgb().formatRgb()}function ha(e){var t,n;return e=(e+``).trim().toLowerCase(),(t=ra.exec(e))?(n=t[1].length,t=parseInt(t[1],16),n===6?ga(t):n===3?new ba(t>>8&15|t>>4&240,t>>4&15|t&240,(t&15)<<4|t&15,1):n===8?_a(t>>24&255,t>>16&255,t>>8&255,(t&255)/255):n===4?_a(t>>12&15|t>>8&240,t>>8&15|t>>4&240,t>>4&15|t&240,((t&15)<<4|t&15)/255):null):(t=ia.exec(e))?new ba(t[1],t[2],t[3],1):(t=aa.exec(e))?new ba(t[1]*255/100,t[2]*255/100,t[3]*255/100,1):(t=oa.exec(e))?_a(t[1],t[2],t[3],t[4]):(t=sa.exec(e))?_a(t[1]*255/100,t[2]*255/100,t[3]*255/100,t[4]):(t=ca.exec(e))?Da(t[1],t[2]/100,t[3]/100,1):(t=la.exec(e))?Da(t[1],t[2]/100,t[3]/100,t[4]):ua.hasOwnProperty(e)?ga(ua[e]):e===`transparent`?new ba(NaN,NaN,NaN,0):null}function ga(e){return new ba(e>>16&255,e>>8&255,e&255,1)}function _a(e,t,n,r){return r<=0&&(e=t=n=NaN),new ba(e,t,n,r)}function va(e){return e instanceof Zi||(e=ha(e)),e?(e=e.rgb(),new ba(e.r,e.g,e.b,e.opacity)):new ba}function ya(e,t,n,r){return arguments.length===1?va(e):new ba(e,t,n,r??1)}function ba(e,t,n,r){this.r=+e,this.g=+t,this.b=+n,this.opacity=+r}Yi(ba,ya,Xi(Zi,{brighter(e){return e=e==null?$i:$i**+e,new ba(this.r*e,this.g*e,this.b*e,this.opacity)},darker(e){return e=e==null?Qi:Qi**+e,new ba(this.r*e,this.g*e,this.b*e,this.opacity)},rgb(){return this},clamp(){return new ba(Ta(this.r),Ta(this.g),Ta(this.b),wa(this.opacity))},displayable(){return-.5<=this.r&&this.r<255.5&&-.5<=this.g&&this.g<255.5&&-.5<=this.b&&this.b<255.5&&0<=this.opacity&&this.opacity<=1},hex:xa,formatHex:xa,formatHex8:Sa,formatRgb:Ca,toString:Ca}));function xa(){return`#${Ea(this.r)}${Ea(this.g)}${Ea(this.b)}`}function Sa(){return`#${Ea(this.r)}${Ea(this.g)}${Ea(this.b)}${Ea((isNaN(this.opacity)?1:this.opacity)*255)}`}function Ca(){let e=wa(this.opacity);return`${e===1?`rgb(`:`rgba(`}${Ta(this.r)}, ${Ta(this.g)}, ${Ta(this.b)}${e===1?`)`:`, ${e})`}`}function wa(e){return isNaN(e)?1:Math.max(0,Math.min(1,e))}function Ta(e){return Math.max(0,Math.min(255,Math.round(e)||0))}function Ea(e){return e=Ta(e),(e<16?`0`:``)+e.toString(16)}function Da(e,t,n,r){return r<=0?e=t=n=NaN:n<=0||n>=1?e=t=NaN:t<=0&&(e=NaN),new Aa(e,t,n,r)}function Oa(e){if(e instanceof Aa)return new Aa(e.h,e.s,e.l,e.opacity);if(e instanceof Zi||(e=ha(e)),!e)return new Aa;if(e instanceof Aa)return e;e=e.rgb();var t=e.r/255,n=e.g/255,r=e.b/255,i=Math.min(t,n,r),a=Math.max(t,n,r),o=NaN,s=a-i,c=(a+i)/2;return s?(o=t===a?(n-r)/s+(n<r)*6:n===a?(r-t)/s+2:(t-n)/s+4,s/=c<.5?a+i:2-a-i,o*=60):s=c>0&&c<1?0:o,new Aa(o,s,c,e.opacity)}function ka(e,t,n,r){return arguments.length===1?Oa(e):new Aa(e,t,n,r??1)}function Aa(e,t,n,r){this.h=+e,this.s=+t,this.l=+n,this.opacity=+r}Yi(Aa,ka,Xi(Zi,{brighter(e){return e=e==null?$i:$i**+e,new Aa(this.h,this.s,this.l*e,this.opacity)},darker(e){return e=e==null?Qi:Qi**+e,new Aa(this.h,this.s,this.l*e,this.opacity)},rgb(){var e=this.h%360+(this.h<0)*360,t=isNaN(e)||isNaN(this.s)?0:this.s,n=this.l,r=n+(n<.5?n:1-n)*t,i=2*n-r;return new ba(Na(e>=240?e-240:e+120,i,r),Na(e,i,r),Na(e<120?e+240:e-120,i,r),this.opacity)},clamp(){return new Aa(ja(this.h),Ma(this.s),Ma(this.l),wa(this.opacity))},displayable(){return(0<=this.s&&this.s<=1||isNaN(this.s))&&0<=this.l&&this.l<=1&&0<=this.opacity&&this.opacity<=1},formatHsl(){let e=wa(this.opacity);return`${e===1?`hsl(`:`hsla(`}${ja(this.h)}, ${Ma(this.s)*100}%, ${Ma(this.l)*100}%${e===1?`)`:`, ${e})`}`}}));function ja(e){return e=(e||0)%360,e<0?e+360:e}function Ma(e){return Math.max(0,Math.min(1,e||0))}function Na(e,t,n){return(e<60?t+(n-t)*e/60:e<180?n:e<240?t+(n-t)*(240-e)/60:t)*255}var Pa=[`#1f77b4`,`#ff7f0e`,`#2ca02c`,`#d62728`,`#9467bd`,`#8c564b`,`#e377c2`,`#7f7f7f`,`#bcbd22`,`#17becf`],Fa=[`#1f77b4`,`#aec7e8`,`#ff7f0e`,`#ffbb78`,`#2ca02c`,`#98df8a`,`#d62728`,`#ff9896`,`#9467bd`,`#c5b0d5`,`#8c564b`,`#c49c94`,`#e377c2`,`#f7b6d2`,`#7f7f7f`,`#c7c7c7`,`#bcbd22`,`#dbdb8d`,`#17becf`,`#9edae5`];function Ia(e){if(e<1&&(e=1),e<=Pa.length)return Pa.slice(0,e);if(e<=Fa.length)return Fa.slice(0,e);{let t=[];for(let n=0;n<e;n++)t[n]=Fa[n%Fa.length];return t}}function La(e){let{r:t,g:n,b:r,opacity:i}=ya(e);return{r:t/255,g:n/255,b:r/255,a:i}}function Ra(){return[1,0,0,0,1,0,0,0,1]}function za(e,t){return[e[0]*t[0]+e[3]*t[1]+e[6]*t[2],e[1]*t[0]+e[4]*t[1]+e[7]*t[2],e[2]*t[0]+e[5]*t[1]+e[8]*t[2],e[0]*t[3]+e[3]*t[4]+e[6]*t[5],e[1]*t[3]+e[4]*t[4]+e[7]*t[5],e[2]*t[3]+e[5]*t[4]+e[8]*t[5],e[0]*t[6]+e[3]*t[7]+e[6]*t[8],e[1]*t[6]+e[4]*t[7]+e[7]*t[8],e[2]*t[6]+e[5]*t[7]+e[8]*t[8]]}function Ba(e,t){return[t[0]*e[0]+t[3]*e[1]+t[6]*e[2],t[1]*e[0]+t[4]*e[1]+t[7]*e[2],t[2]*e[0]+t[5]*e[1]+t[8]*e[2]]}function Va(e){return e[0]*e[4]*e[8]-e[0]*e[5]*e[7]-e[1]*e[3]*e[8]+e[1]*e[5]*e[6]+e[2]*e[3]*e[7]-e[2]*e[4]*e[6]}function Ha(e){let t=Va(e);return[(e[4]*e[8]-e[5]*e[7])/t,(e[2]*e[7]-e[1]*e[8])/t,(e[1]*e[5]-e[2]*e[4])/t,(e[5]*e[6]-e[3]*e[8])/t,(e[0]*e[8]-e[2]*e[6])/t,(e[2]*e[3]-e[0]*e[5])/t,(e[3]*e[7]-e[4]*e[6])/t,(e[1]*e[6]-e[0]*e[7])/t,(e[0]*e[4]-e[1]*e[3])/t]}var Ua=class{viewport;width;height;_matrix=[0,0,0,0,0,0,0,0,0];_pixel_kx=0;_pixel_bx=0;_pixel_ky=0;_pixel_by=0;constructor(e,t,n){this.viewport=e,this.width=t,this.height=n,this.updateCoefficients()}update(e,t,n){this.viewport=e,this.width=t,this.height=n,this.updateCoefficients()}updateCoefficients(){let{x:e,y:t,scale:n}=this.viewport,r=n,i=n;this.width<this.height?r*=this.height/this.width:i*=this.width/this.height,this._matrix=[r,0,0,0,i,0,-e*r,-t*i,1],this._pixel_kx=this._matrix[0]*this.width/2,this._pixel_bx=(this._matrix[6]+1)*this.width/2,this._pixel_ky=-this._matrix[4]*this.height/2,this._pixel_by=(-this._matrix[7]+1)*this.height/2}matrix(){return this._matrix}scale(){return Math.abs(this._pixel_kx)}pixelLocation(e,t){return{x:e*this._pixel_kx+this._pixel_bx,y:t*this._pixel_ky+this._pixel_by}}coordinateAtPixel(e,t){return{x:(e-this._pixel_bx)/this._pixel_kx,y:(t-this._pixel_by)/this._pixel_ky}}pixelLocationFunction(){let e=this._pixel_kx,t=this._pixel_ky,n=this._pixel_bx,r=this._pixel_by;return(i,a)=>({x:i*e+n,y:a*t+r})}coordinateAtPixelFunction(){let e=this._pixel_kx,t=this._pixel_ky,n=this._pixel_bx,r=this._pixel_by;return(i,a)=>({x:(i-n)/e,y:(a-r)/t})}},Wa=class{_needsRun=!0;_inputs=new Set;_targets=new Set;constructor(e=[]){this._inputs=new Set(e);for(let e of this._inputs)e._targets.add(this)}addInput(e){this._inputs.add(e),e._targets.add(this)}removeInput(e){e._targets.delete(this),this._inputs.delete(e)}run(){if(this._needsRun){for(let e of this._inputs)e.run();this.update(),this._needsRun=!1}}setNeedsRunDownstream(){for(let e of this._targets)e._needsRun||(e._needsRun=!0,e.setNeedsRunDownstream())}update(){}destroy(){for(let e of this._inputs)e._targets.delete(this)}},Ga=class extends Wa{_value=null;setValue(e){this._value!==e&&(this._value=e,this.setNeedsRunDownstream())}get value(){return this.run(),this._value}},Ka=class extends Ga{constructor(e){super([]),this.setValue(e)}get value(){return super.value}set value(e){this.setValue(e)}},qa=class extends Ga{fn;constructor(e,t){super(t),this.fn=e}update(){this.setValue(this.fn())}},Ja=class extends Ga{fn;state;constructor(e,t){super(t),this.fn=e,this.state={}}update(){this.setValue(this.fn(this.state))}destroy(){super.destroy(),this.state.destroy&&this.state.destroy(),this.state={}}},Ya=class extends Ga{parent;condition;buildTrue;buildFalse;context=null;currentCondition=null;currentNode=null;constructor(e,t,n,r){super([t]),this.parent=e,this.condition=t,this.buildTrue=n,this.buildFalse=r}update(){(this.currentNode==null||this.currentCondition!==this.condition.value)&&(this.currentNode&&this.removeInput(this.currentNode),this.context?.destroy(),this.context=new Qa(this.parent),this.currentCondition=this.condition.value,this.currentNode=this.currentCondition?this.buildTrue(this.context):this.buildFalse(this.context),this.addInput(this.currentNode)),this.setValue(this.currentNode.value)}destroy(){super.destroy(),this.context?.destroy()}},Xa=class extends Ga{parent;input;build;cache;constructor(e,t,n){super([t]),this.parent=e,this.input=t,this.build=n,this.cache=new Map}update(){let e=new Set,t=this.input.value.map(t=>{if(e.add(t),this.cache.has(t)){let e=this.cache.get(t);return e.input.value=t,e.output.value}{let e=new Qa(this.parent),n=new Ka(t),r=this.build(e,n);return this.cache.set(t,{context:e,input:n,output:r}),this.addInput(r),r.value}});for(let[t,n]of this.cache)e.has(t)||(this.cache.delete(t),this.removeInput(n.output),n.context.destroy());this.setValue(t)}destroy(){super.destroy();for(let e of this.cache.values())e.context.destroy()}},Za=class extends Ga{parent;input;cases;currentCase=null;currentNode=null;currentContext=null;constructor(e,t,n){super([t]),this.parent=e,this.input=t,this.cases=n}update(){(this.currentNode==null||this.input.value!==this.currentCase)&&(this.currentNode&&this.removeInput(this.currentNode),this.currentContext?.destroy(),this.currentContext=new Qa(this.parent),this.currentCase=this.input.value,this.currentNode=this.cases[this.currentCase](this.currentContext),this.addInput(this.currentNode)),this.setValue(this.currentNode.value)}destroy(){super.destroy(),this.currentContext?.destroy()}},Qa=class e{_children;_nodes;constructor(e=null){this._children=new Set,this._nodes=new Set,e?._children.add(this)}destroy(){for(let e of this._children)e.destroy();for(let e of this._nodes)e.destroy();this._children.clear(),this._nodes.clear()}value(e){let t=new Ka(e);return this._nodes.add(t),t}derive(e,t){let n=e.map(e=>e instanceof Wa?e:this.value(e)),r=new qa(()=>t(...n.map(e=>e.value)),n);return this._nodes.add(r),r}statefulDerive(e,t){let n=e.map(e=>e instanceof Wa?e:this.value(e)),r=new Ja(e=>t(e,...n.map(e=>e.value)),n);return this._nodes.add(r),r}if(e,t,n){let r=new Ya(this,e,t,n);return this._nodes.add(r),r}switch(e,t){let n=new Za(this,e,t);return this._nodes.add(n),n}map(e,t){let n=new Xa(this,e,t);return this._nodes.add(n),n}assertNotNull(e){return e}subgraph(){return new e(this)}};function $a(e,t,n,r){if(e.program==null||e.vsSource!=n||e.fsSource!=r){e.destroy&&e.destroy();let a=eo(t,t.VERTEX_SHADER,n),o=eo(t,t.FRAGMENT_SHADER,r),s=t.createProgram();if(t.attachShader(s,a),t.attachShader(s,o),t.linkProgram(s),!t.getProgramParameter(s,t.LINK_STATUS)){var i=t.getProgramInfoLog(s);throw Error(`failed to link program: ${i}, vertex source: ${n}, fragment source: ${r}`)}e.program=s,e.vsSource=n,e.fsSource=r,e.destroy=()=>{t.deleteProgram(s),t.deleteShader(a),t.deleteShader(o)},e.uniforms={};for(let i of(n+r).matchAll(/uniform +[0-9a-zA-Z_]+ +([0-9a-zA-Z_]+) *(;|\[)/g)){let n=i[1];e.uniforms[n]=t.getUniformLocation(s,n)}}return{program:e.program,uniforms:e.uniforms??{}}}function eo(e,t,n){let r=e.createShader(t);if(e.shaderSource(r,n),e.compileShader(r),!e.getShaderParameter(r,e.COMPILE_STATUS)){var i=e.getShaderInfoLog(r);throw Error(`failed to compile shader: ${i}, source: ${n}`)}return r}function to(e,t,n,r){if(e.buffer==null){let n=t.createBuffer();e.buffer=n,e.destroy=()=>{t.deleteBuffer(n)}}if(e.data!==n){if(e.data=n,t.bindBuffer(t.ARRAY_BUFFER,e.buffer),n instanceof Array)switch(r??`f32`){case`f32`:t.bufferData(t.ARRAY_BUFFER,new Float32Array(n),t.STATIC_DRAW);break;case`i32`:t.bufferData(t.ARRAY_BUFFER,new Int32Array(n),t.STATIC_DRAW);break;case`u32`:t.bufferData(t.ARRAY_BUFFER,new Uint32Array(n),t.STATIC_DRAW);break;case`i16`:t.bufferData(t.ARRAY_BUFFER,new Int16Array(n),t.STATIC_DRAW);break;case`u16`:t.bufferData(t.ARRAY_BUFFER,new Uint16Array(n),t.STATIC_DRAW);break;case`i8`:t.bufferData(t.ARRAY_BUFFER,new Int8Array(n),t.STATIC_DRAW);break;case`u8`:t.bufferData(t.ARRAY_BUFFER,new Uint8Array(n),t.STATIC_DRAW);break;default:throw Error(`invalid type`)}else t.bufferData(t.ARRAY_BUFFER,n,t.STATIC_DRAW);t.bindBuffer(t.ARRAY_BUFFER,null)}return e.buffer}function no(e,t,n,r,i){let[a,o,s]={u8:{1:[e.R8,e.RED,e.UNSIGNED_BYTE],2:[e.RG8,e.RG,e.UNSIGNED_BYTE],3:[e.RGB8,e.RGB,e.UNSIGNED_BYTE],4:[e.RGBA8,e.RGBA,e.UNSIGNED_BYTE]},u16:{1:[e.R8,e.RED,e.UNSIGNED_SHORT],2:[e.RG8,e.RG,e.UNSIGNED_SHORT],3:[e.RGB8,e.RGB,e.UNSIGNED_SHORT],4:[e.RGBA8,e.RGBA,e.UNSIGNED_SHORT]},u32:{1:[e.R8,e.RED,e.UNSIGNED_INT],2:[e.RG8,e.RG,e.UNSIGNED_INT],3:[e.RGB8,e.RGB,e.UNSIGNED_INT],4:[e.RGBA8,e.RGBA,e.UNSIGNED_INT]},f32:{1:[e.R32F,e.RED,e.FLOAT],2:[e.RG32F,e.RG,e.FLOAT],3:[e.RGB32F,e.RGB,e.FLOAT],4:[e.RGBA32F,e.RGBA,e.FLOAT]}}[i][r];e.texImage2D(e.TEXTURE_2D,0,a,t,n,0,o,s,null),e.texParameteri(e.TEXTURE_2D,e.TEXTURE_MIN_FILTER,e.LINEAR),e.texParameteri(e.TEXTURE_2D,e.TEXTURE_MAG_FILTER,e.LINEAR),e.texParameteri(e.TEXTURE_2D,e.TEXTURE_WRAP_S,e.CLAMP_TO_EDGE),e.texParameteri(e.TEXTURE_2D,e.TEXTURE_WRAP_T,e.CLAMP_TO_EDGE)}function ro(e,t,n,r,i,a){if(e.framebuffer==null||e.texture==null){let n=t.createFramebuffer(),r=t.createTexture();t.bindFramebuffer(t.FRAMEBUFFER,n),t.bindTexture(t.TEXTURE_2D,r),t.framebufferTexture2D(t.FRAMEBUFFER,t.COLOR_ATTACHMENT0,t.TEXTURE_2D,r,0),t.bindTexture(t.TEXTURE_2D,null),t.bindFramebuffer(t.FRAMEBUFFER,null),e.framebuffer=n,e.texture=r,e.destroy=()=>{t.deleteFramebuffer(n),t.deleteTexture(r)}}let o=`${n},${r},${i},${a}`;return e.cacheKey!=o&&(e.cacheKey=o,t.bindTexture(t.TEXTURE_2D,e.texture),no(t,n,r,i,a),t.bindTexture(t.TEXTURE_2D,null)),{framebuffer:e.framebuffer,texture:e.texture,width:n,height:r}}function io(e){let t=e.squareMaxSize,n=e.samples;return{vertex:`#version 300 es
    precision highp float;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
  `,fragment1:`#version 300 es
    precision highp float;
    uniform sampler2D image;
    uniform vec2 resolution;
    uniform vec2 direction;
    in vec2 uv;
    out vec4 outColor;
    void main() {
      vec4 color = vec4(0.0);
      const int count = ${t};
      int i = -count;
      while(i + 1 <= count) {
        color += texture(image, uv + direction * (float(i) + 0.5) / resolution) * 2.0;
        i += 2;
      }
      if (i <= count) {
        color += texture(image, uv + direction * float(count) / resolution);
      }
      outColor = color;
    }
  `,fragment2:`#version 300 es
    precision highp float;
    uniform sampler2D image;
    uniform sampler2D imageBox;
    uniform vec2 resolution;
    uniform float scaler;
    in vec2 uv;
    out vec4 outColor;

    void main() {
      vec4 color = texture(imageBox, uv);
      if (color != vec4(0.0)) {
        ${n.map(({x:e,y:t,w:n})=>`color -= texture(image, uv + vec2(${e.toFixed(8)}, ${t.toFixed(8)}) / resolution) * (${n.toFixed(8)})`).join(`;`)};
      }
      outColor = color * scaler;
    }
  `}}function ao(e,t,n){let r=e.derive([n],so),i=e.derive([r],io),a=e.statefulDerive([t,e.derive([i],e=>e.vertex),e.derive([i],e=>e.fragment1)],$a),o=e.statefulDerive([t,e.derive([i],e=>e.vertex),e.derive([i],e=>e.fragment2)],$a),s=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,s,a,o,n,r],(e,t,n,r,i,a)=>(o,s,c)=>{let{width:l,height:u}=s;e.disable(e.BLEND),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,t),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.useProgram(n.program),e.uniform2f(n.uniforms.resolution,l,u),e.uniform1i(n.uniforms.image,0),e.bindFramebuffer(e.FRAMEBUFFER,s.framebuffer),e.bindTexture(e.TEXTURE_2D,o),e.uniform2f(n.uniforms.direction,0,1),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.bindFramebuffer(e.FRAMEBUFFER,c.framebuffer),e.bindTexture(e.TEXTURE_2D,s.texture),e.uniform2f(n.uniforms.direction,1,0),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.bindFramebuffer(e.FRAMEBUFFER,s.framebuffer),e.activeTexture(e.TEXTURE1),e.bindTexture(e.TEXTURE_2D,c.texture),e.activeTexture(e.TEXTURE0),e.bindTexture(e.TEXTURE_2D,o),e.useProgram(r.program),e.uniform2f(r.uniforms.resolution,l,u),e.uniform1i(r.uniforms.image,0),e.uniform1i(r.uniforms.imageBox,1);let d=1/a.totalWeight*i*i*Math.PI;e.uniform1f(r.uniforms.scaler,d),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.bindFramebuffer(e.FRAMEBUFFER,null),e.useProgram(null),e.activeTexture(e.TEXTURE1),e.bindTexture(e.TEXTURE_2D,null),e.activeTexture(e.TEXTURE0),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}function oo(e,t,n){let r=Math.sqrt(t*t+n*n);if(r<e-Math.sqrt(2)/2)return 1;if(r>e+Math.sqrt(2)/2)return 0;let i=0;for(let r=0;r<2;r++)for(let a=0;a<2;a++){let o=t+(r+.5)/2-.5,s=n+(a+.5)/2-.5;Math.sqrt(o*o+s*s)<e&&(i+=1)}return i/2/2}function so(e){let t=Math.floor(e+.5),n=t,r=oo(e,0,0),i=[];for(let n=-t;n<=t;n++)for(let a=-t;a<=t;a++){let t=r-oo(e,n,a);if(!(t<=0)){if(i.length>0&&n==i[i.length-1].x&&a==i[i.length-1].y+1){let e=i[i.length-1].w,n=t;i[i.length-1].y+=1-e/(e+n),i[i.length-1].w=e+n}else i.push({x:n,y:a,w:t})}}i=i.sort((e,t)=>e.y==t.y?e.x-t.x:e.y-t.y);let a=[];for(let{x:e,y:t,w:n}of i)if(a.length>0&&t==a[a.length-1].y&&e==a[a.length-1].x+1){let e=a[a.length-1].w,t=n;a[a.length-1].x+=1-e/(e+t),a[a.length-1].w=e+t}else a.push({x:e,y:t,w:n});let o=-a.reduce((e,t)=>e+t.w,0);return o+=r*(1+n*2)*(1+n*2),{squareMaxSize:n,squareWeight:r,samples:a,totalWeight:o}}function co(e){let t;return t=e?`#version 300 es
      precision highp float;
      uniform mat3 matrix;
      layout(location=0) in float x;
      layout(location=1) in float y;
      layout(location=2) in int category;
      out vec4 color;
      void main() {
        gl_Position = vec4(matrix * vec3(x, y, 1), 1);
        if (category == 0) {
          color = vec4(1, 0, 0, 0);
        } else if (category == 1) {
          color = vec4(0, 1, 0, 0);
        } else if (category == 2) {
          color = vec4(0, 0, 1, 0);
        } else if (category == 3) {
          color = vec4(0, 0, 0, 1);
        }
        gl_PointSize = 1.0;
      }
    `:`#version 300 es
      precision highp float;
      uniform mat3 matrix;
      layout(location=0) in float x;
      layout(location=1) in float y;
      out vec4 color;
      void main() {
        gl_Position = vec4(matrix * vec3(x, y, 1), 1);
        color = vec4(1, 0, 0, 0);
        gl_PointSize = 1.0;
      }
    `,{vertex:t,fragment:`#version 300 es
    precision highp float;
    in vec4 color;
    out vec4 outColor;
    void main() {
      outColor = color;
    }
  `}}function lo(e,t,n,r,i,a){let o=co(i!=null),s=e.statefulDerive([t,o.vertex,o.fragment],$a);return e.derive([t,s,n,r,i,a],(e,t,n,r,i,a)=>o=>{e.enable(e.BLEND),e.blendFunc(e.ONE,e.ONE),e.useProgram(t.program),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,n),e.vertexAttribPointer(0,1,e.FLOAT,!1,0,0),e.enableVertexAttribArray(1),e.bindBuffer(e.ARRAY_BUFFER,r),e.vertexAttribPointer(1,1,e.FLOAT,!1,0,0),i!=null&&(e.enableVertexAttribArray(2),e.bindBuffer(e.ARRAY_BUFFER,i),e.vertexAttribIPointer(2,1,e.BYTE,0,0)),e.bindBuffer(e.ARRAY_BUFFER,null),e.uniformMatrix3fv(t.uniforms.matrix,!1,o),e.drawArrays(e.POINTS,0,a),e.disableVertexAttribArray(0),e.disableVertexAttribArray(1),i!=null&&e.disableVertexAttribArray(2),e.useProgram(null)})}function uo(){return{vertex:`#version 300 es
    precision highp float;
    uniform vec2 xyScaler;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy * xyScaler, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
  `,fragment:`#version 300 es
    precision highp float;
    uniform sampler2D source;
    uniform float gamma;
    in vec2 uv;
    out vec4 outColor;
    void main() {
      vec4 color = texture(source, uv);
      color.rgb = pow(color.rgb, vec3(1.0 / gamma));
      outColor = color;
    }
  `}}function fo(e,t){let{vertex:n,fragment:r}=uo(),i=e.statefulDerive([t,n,r],$a),a=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,i,a],(e,t,n)=>(r,i,a,o)=>{e.disable(e.BLEND),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,n),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.bindTexture(e.TEXTURE_2D,r),e.useProgram(t.program),e.uniform1i(t.uniforms.source,0),e.uniform2f(t.uniforms.xyScaler,a??1,o??1),e.uniform1f(t.uniforms.gamma,i??2.2),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.useProgram(null),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}function po(e){return Math.ceil(e*3)}function mo(e){let t=po(e),n=[];for(let r=-t;r<=t;r++)n.push(Math.exp(-r*r/e/e/2));let r=n.reduce((e,t)=>e+t,0);return n=n.map(e=>e/r),{vertex:`#version 300 es
    precision highp float;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
  `,fragment:`#version 300 es
    precision highp float;
    uniform sampler2D image;
    uniform vec2 resolution;
    uniform vec2 direction;
    in vec2 uv;
    out vec4 outColor;

    void main() {
      vec4 color = vec4(0.0);
      ${go(n).map(([e,n])=>[e-t,n]).map(([e,t])=>`color += texture(image, uv + direction * vec2(${e.toFixed(10)}) / resolution) * ${t.toFixed(10)};`).join(`
`)}
      outColor = color;
    }
  `}}function ho(e,t,n){let r=e.derive([n],mo),i=e.statefulDerive([t,e.derive([r],e=>e.vertex),e.derive([r],e=>e.fragment)],$a),a=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,a,i,n],(e,t,n,r)=>(r,i,a)=>{let{width:o,height:s}=i;e.disable(e.BLEND),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,t),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.useProgram(n.program),e.uniform2f(n.uniforms.resolution,o,s),e.uniform1i(n.uniforms.image,0),e.bindFramebuffer(e.FRAMEBUFFER,a.framebuffer),e.bindTexture(e.TEXTURE_2D,r),e.uniform2f(n.uniforms.direction,0,1),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.bindFramebuffer(e.FRAMEBUFFER,i.framebuffer),e.bindTexture(e.TEXTURE_2D,a.texture),e.uniform2f(n.uniforms.direction,1,0),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.bindFramebuffer(e.FRAMEBUFFER,null),e.useProgram(null),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}function go(e){let t=[];for(let n=0;n<e.length;n+=2)if(n+1<e.length){let r=e[n],i=e[n+1],a=1-r/(r+i);if(a>=0&&a<=1){let e=r+i;e!=0&&t.push([n+a,e])}else t.push([n,e[n]]),t.push([n+1,e[n+1]])}else t.push([n,e[n]]);return t}function _o(e){return Math.ceil(e*3)}function vo(){return{vertex:`#version 300 es
    precision highp float;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
  `,fragment:`#version 300 es
    precision highp float;
    uniform sampler2D image;
    uniform vec2 resolution;
    uniform vec2 direction;
    in vec2 uv;
    out vec4 outColor;

    uniform float weight0;
    uniform vec3 distances;
    uniform vec3 weights;

    void main() {
      vec4 color = texture(image, uv) * weight0;
      if (weights.x != 0.0) {
        color += texture(image, uv + direction * vec2(distances.x) / resolution) * weights.x;
        color += texture(image, uv - direction * vec2(distances.x) / resolution) * weights.x;
      }
      if (weights.y != 0.0) {
        color += texture(image, uv + direction * vec2(distances.y) / resolution) * weights.y;
        color += texture(image, uv - direction * vec2(distances.y) / resolution) * weights.y;
      }
      if (weights.z != 0.0) {
        color += texture(image, uv + direction * vec2(distances.z) / resolution) * weights.z;
        color += texture(image, uv - direction * vec2(distances.z) / resolution) * weights.z;
      }
      outColor = color;
    }
  `}}function yo(e,t,n){let{vertex:r,fragment:i}=vo(),a=e.statefulDerive([t,r,i],$a),o=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,o,a],(e,t,n)=>(r,i,a)=>{let{width:o,height:s}=i;e.disable(e.BLEND),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,t),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.useProgram(n.program),e.uniform2f(n.uniforms.resolution,o,s),e.uniform1i(n.uniforms.image,0);let c=r,l=a,u=i;for(let t=0;t<2;t++){e.uniform2f(n.uniforms.direction,t,1-t);for(let[t,r,i]of bo){e.bindFramebuffer(e.FRAMEBUFFER,l.framebuffer),e.bindTexture(e.TEXTURE_2D,c),e.uniform1fv(n.uniforms.weight0,r),e.uniform3fv(n.uniforms.distances,t),e.uniform3fv(n.uniforms.weights,i),e.drawArrays(e.TRIANGLE_STRIP,0,4),c=l.texture;let a=l;l=u,u=a}}e.bindFramebuffer(e.FRAMEBUFFER,null),e.useProgram(null),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}var bo=[[[1,2,3],[.2288468365182578],[.18230006506971572,.1356122230111784,.06766429365997693]],[[2,6,10],[.09116254014100238],[.23317759354726447,.18385867277788717,.03738246360434722]],[[3,10,20],[.2950645715317288],[.010918865853671198,.23773695670296047,.10381189167750389]],[[4,16,30],[.20085957073474772],[.14463019087130788,.17934533765938643,.07559468610193185]]];function xo(){return{vertex:`#version 300 es
    precision highp float;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
  `,fragment:`#version 300 es
    precision highp float;
    uniform sampler2D source;
    uniform vec2 resolution;
    uniform float densityScaler;
    uniform float quantizationStep;
    uniform vec4 channelMask;
    uniform vec4 color;
    uniform float globalAlpha;

    in vec2 uv;
    out vec4 outColor;

    float sample_density(vec2 uv) {
      float d = dot(texture(source, uv), channelMask) * densityScaler;
      d = min(1.0, max(0.0, d));
      d = floor(d / quantizationStep);
      return d;
    }

    void main() {
      // Run the Sobel operator.
      float v = sample_density(uv);
      float v11 = sample_density(uv + vec2(-1, -1) / resolution);
      float v12 = sample_density(uv + vec2(-1,  0) / resolution);
      float v13 = sample_density(uv + vec2(-1, +1) / resolution);
      float v21 = sample_density(uv + vec2( 0, -1) / resolution);
      float v23 = sample_density(uv + vec2( 0, +1) / resolution);
      float v31 = sample_density(uv + vec2(+1, -1) / resolution);
      float v32 = sample_density(uv + vec2(+1,  0) / resolution);
      float v33 = sample_density(uv + vec2(+1, +1) / resolution);
      float gx = v11 + v12 * 2.0 + v13 - v31 - v32 * 2.0 - v33;
      float gy = v11 + v21 * 2.0 + v31 - v13 - v23 * 2.0 - v33;
      // Derive alpha value from the result.
      float alpha = length(vec2(gx, gy)) * 0.2;
      alpha = min(1.0, max(0.0, alpha));
      outColor = color * alpha * globalAlpha;
    }
  `}}function So(e,t){let{vertex:n,fragment:r}=xo(),i=e.statefulDerive([t,n,r],$a),a=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,i,a],(e,t,n)=>(r,i,a,o,s,c)=>{e.enable(e.BLEND),e.blendFunc(e.ONE,e.ONE_MINUS_SRC_ALPHA),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,n),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.bindTexture(e.TEXTURE_2D,r.texture),e.useProgram(t.program),e.uniform1i(t.uniforms.source,0),e.uniform2f(t.uniforms.resolution,r.width,r.height),e.uniform1f(t.uniforms.densityScaler,i),e.uniform1f(t.uniforms.quantizationStep,a),e.uniform1f(t.uniforms.globalAlpha,o),e.uniform4fv(t.uniforms.channelMask,s),e.uniform4fv(t.uniforms.color,c),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.useProgram(null),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}function Co(){return{vertex:`#version 300 es
    precision highp float;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
    `,fragment:`#version 300 es
    precision highp float;
    uniform sampler2D source;
    uniform vec2 resolution;
    uniform float densityScaler;
    uniform float quantizationStep;

    uniform mat4 colorMatrix;
    uniform int isDarkMode;
    uniform float globalAlpha;

    in vec2 uv;
    out vec4 outColor;

    /* Combine alphas with symmetric blending equation f(a, b) = a + b - ab. */
    float combine_alphas(vec4 alphas) {
      float r = alphas.x + alphas.y - alphas.x * alphas.y;
      r = r + alphas.z - r * alphas.z;
      r = r + alphas.w - r * alphas.w;
      return r;
    }

    void main() {
      vec4 density = texture(source, uv) * densityScaler;

      if (density.x > 1.0 || density.y > 1.0 || density.z > 1.0 || density.w > 1.0) {
        density = density / max(max(max(density.x, density.y), density.z), density.w);
      } else {
        density = floor(density / quantizationStep) * quantizationStep;
      }

      if (density.x + density.y + density.z + density.w == 0.0) {
        discard;
      }

      float alpha = combine_alphas(density);

      density *= alpha / (density.x + density.y + density.z + density.w);

      vec3 c1 = colorMatrix[0].rgb * density.x;
      vec3 c2 = colorMatrix[1].rgb * density.y;
      vec3 c3 = colorMatrix[2].rgb * density.z;
      vec3 c4 = colorMatrix[3].rgb * density.w;
      vec3 c;

      if (isDarkMode == 0) {
        c = vec3(1.0) - alpha + c1 + c2 + c3 + c4;
      } else {
        c = c1 + c2 + c3 + c4;
      }

      outColor = vec4(c, 1.0) * alpha * globalAlpha;
    }
  `}}function wo(e,t){let{vertex:n,fragment:r}=Co(),i=e.statefulDerive([t,n,r],$a),a=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,i,a],(e,t,n)=>(r,i,a,o,s,c)=>{e.enable(e.BLEND),e.blendFunc(e.ONE,e.ONE_MINUS_SRC_ALPHA),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,n),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.bindTexture(e.TEXTURE_2D,r.texture),e.useProgram(t.program),e.uniform1i(t.uniforms.source,0),e.uniform2f(t.uniforms.resolution,r.width,r.height),e.uniform1f(t.uniforms.densityScaler,i),e.uniform1f(t.uniforms.quantizationStep,a),e.uniform1f(t.uniforms.globalAlpha,o),e.uniform1i(t.uniforms.isDarkMode,+(c==`dark`)),e.uniformMatrix4fv(t.uniforms.colorMatrix,!1,s),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.useProgram(null),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}function To(e){let t;return t=e?`#version 300 es
      precision highp float;
      uniform mat3 matrix;
      uniform float point_size;
      uniform float alpha;
      uniform vec4 colorScheme[64];

      layout(location=0) in float x;
      layout(location=1) in float y;
      layout(location=2) in int category;

      out vec4 color;

      void main() {
        gl_Position = vec4(matrix * vec3(x, y, 1), 1);
        if (category < 64) {
          color = colorScheme[category];
        } else {
          color = vec4(0.5, 0.5, 0.5, 1);
        }
        color *= alpha;
        gl_PointSize = point_size;
      }
    `:`#version 300 es
      precision highp float;
      uniform mat3 matrix;
      uniform float point_size;
      uniform vec4 colorScheme;
      uniform float alpha;

      layout(location=0) in float x;
      layout(location=1) in float y;

      out vec4 color;

      void main() {
        gl_Position = vec4(matrix * vec3(x, y, 1), 1);
        color = colorScheme;
        color *= alpha;
        gl_PointSize = point_size;
      }
    `,{vertex:t,fragment:`#version 300 es
    precision highp float;
    uniform float point_size;
    in vec4 color;
    out vec4 outColor;
    void main() {
      float r = length(gl_PointCoord.xy - vec2(0.5, 0.5)) * point_size;
      float a = max(0.0, min(1.0, point_size / 2.0 - r));
      outColor = color * a;
    }
  `}}function Eo(e,t,n,r,i,a){let o=i!=null,s=To(o),c=e.statefulDerive([t,s.vertex,s.fragment],$a);return e.derive([t,c,n,r,i,a],(e,t,n,r,i,a)=>(s,c,l,u)=>{e.enable(e.BLEND),e.blendFunc(e.ONE,e.ONE_MINUS_SRC_ALPHA),e.useProgram(t.program),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,n),e.vertexAttribPointer(0,1,e.FLOAT,!1,0,0),e.enableVertexAttribArray(1),e.bindBuffer(e.ARRAY_BUFFER,r),e.vertexAttribPointer(1,1,e.FLOAT,!1,0,0),i!=null&&(e.enableVertexAttribArray(2),e.bindBuffer(e.ARRAY_BUFFER,i),e.vertexAttribIPointer(2,1,e.BYTE,0,0)),e.bindBuffer(e.ARRAY_BUFFER,null),e.uniformMatrix3fv(t.uniforms.matrix,!1,s),e.uniform1f(t.uniforms.point_size,c*2),e.uniform1f(t.uniforms.alpha,l),o?e.uniform4fv(t.uniforms.colorScheme,u):e.uniform4fv(t.uniforms.colorScheme,u.slice(0,4)),e.drawArrays(e.POINTS,0,a),e.disableVertexAttribArray(0),e.disableVertexAttribArray(1),i!=null&&e.disableVertexAttribArray(2),e.useProgram(null)})}function Do(){return{vertex:`#version 300 es
    precision highp float;
    layout(location=0) in vec2 xy;
    out vec2 uv;
    void main() {
      gl_Position = vec4(xy, 0, 1);
      uv = (xy + 1.0) / 2.0;
    }
  `,fragment:`#version 300 es
    precision highp float;
    uniform sampler2D source;
    uniform vec2 resolution;
    uniform mat4 colorMatrix;
    uniform float pointAlpha;
    uniform float globalAlpha;
    uniform int isDarkMode;
    in vec2 uv;
    out vec4 outColor;

    /* Combine alphas with symmetric blending equation f(a, b) = a + b - ab. */
    float combine_alphas(vec4 alphas) {
      float r = alphas.x + alphas.y - alphas.x * alphas.y;
      r = r + alphas.z - r * alphas.z;
      r = r + alphas.w - r * alphas.w;
      return r;
    }

    void main() {
      vec4 count = texture(source, uv);
      vec4 alphas = pointAlpha >= 0.999
        ? vec4(count.x > 0.0 ? 1.0 : 0.0, count.y > 0.0 ? 1.0 : 0.0, count.z > 0.0 ? 1.0 : 0.0, count.w > 0.0 ? 1.0 : 0.0)
        : vec4(1.0) - pow(vec4(1.0 - pointAlpha), count);
      float a = combine_alphas(alphas);
      if (a <= 0.0) { discard; }
      alphas *= a / (alphas.x + alphas.y + alphas.z + alphas.w);

      vec3 c1 = colorMatrix[0].rgb * alphas.x;
      vec3 c2 = colorMatrix[1].rgb * alphas.y;
      vec3 c3 = colorMatrix[2].rgb * alphas.z;
      vec3 c4 = colorMatrix[3].rgb * alphas.w;
      vec3 c;
      if (isDarkMode == 0) {
        c = vec3(1.0) - a + c1 + c2 + c3 + c4;
      } else {
        c = c1 + c2 + c3 + c4;
      }
      outColor = vec4(c, 1.0) * a * globalAlpha;
    }
  `}}function Oo(e,t){let{vertex:n,fragment:r}=Do(),i=e.statefulDerive([t,n,r],$a),a=e.statefulDerive([t,[-1,-1,-1,1,1,-1,1,1],`f32`],to);return e.derive([t,i,a],(e,t,n)=>(r,i,a,o,s)=>{e.enable(e.BLEND),e.blendFunc(e.ONE,e.ONE_MINUS_SRC_ALPHA),e.enableVertexAttribArray(0),e.bindBuffer(e.ARRAY_BUFFER,n),e.vertexAttribPointer(0,2,e.FLOAT,!1,0,0),e.bindBuffer(e.ARRAY_BUFFER,null),e.bindTexture(e.TEXTURE_2D,r.texture),e.useProgram(t.program),e.uniform1i(t.uniforms.source,0),e.uniform2f(t.uniforms.resolution,r.width,r.height),e.uniform1f(t.uniforms.pointAlpha,i),e.uniform1f(t.uniforms.globalAlpha,a),e.uniform1i(t.uniforms.isDarkMode,+(s==`dark`)),e.uniformMatrix4fv(t.uniforms.colorMatrix,!1,o),e.drawArrays(e.TRIANGLE_STRIP,0,4),e.useProgram(null),e.bindTexture(e.TEXTURE_2D,null),e.disableVertexAttribArray(0)})}var ko=class{props;viewport;df;gl;renderInputs;dataBuffers;renderer;constructor(e,t,n){this.props={mode:`points`,colorScheme:`light`,x:new Float32Array,y:new Float32Array,category:null,categoryCount:1,categoryColors:null,viewportX:0,viewportY:0,viewportScale:1,pointSize:1,pointAlpha:1,pointsAlpha:1,densityScaler:1,densityBandwidth:1,densityQuantizationStep:.1,contoursAlpha:1,densityAlpha:1,gamma:2.2,width:t,height:n,downsampleMaxPoints:4e6,downsampleDensityWeight:5},this.viewport=new Ua({x:0,y:0,scale:1},t,n);let r=new Qa,i=r.value(e);this.df=r,this.gl=i,this.renderInputs={mode:r.value(this.props.mode),colorScheme:r.value(this.props.colorScheme),xData:r.value(this.props.x),yData:r.value(this.props.y),categoryData:r.value(this.props.category),categoryCount:r.value(this.props.categoryCount),matrix:r.value(Ra()),width:r.value(t),height:r.value(n),pointSize:r.value(this.props.pointSize),densityBandwidth:r.value(this.props.densityBandwidth),downsampleMaxPoints:r.value(this.props.downsampleMaxPoints),downsampleDensityWeight:r.value(this.props.downsampleDensityWeight)},this.dataBuffers=Ao(r,i,this.renderInputs),this.renderer=jo(r,i,this.renderInputs,this.dataBuffers)}setProps(e){let t=!1,n;for(n in e)e[n]!==this.props[n]&&(this.props[n]=e[n],t=!0);return this.viewport.update({x:this.props.viewportX,y:this.props.viewportY,scale:this.props.viewportScale},this.props.width,this.props.height),this.renderInputs.mode.value=this.props.mode,this.renderInputs.colorScheme.value=this.props.colorScheme,this.renderInputs.xData.value=this.props.x,this.renderInputs.yData.value=this.props.y,this.renderInputs.categoryData.value=this.props.category,this.props.category==null?this.renderInputs.categoryCount.value=1:this.renderInputs.categoryCount.value=this.props.categoryCount,this.renderInputs.matrix.value=this.viewport.matrix(),this.renderInputs.width.value=this.props.width,this.renderInputs.height.value=this.props.height,this.renderInputs.pointSize.value=this.props.pointSize,this.renderInputs.densityBandwidth.value=this.props.densityBandwidth,this.renderInputs.downsampleMaxPoints.value=this.props.downsampleMaxPoints,this.renderInputs.downsampleDensityWeight.value=this.props.downsampleDensityWeight,t}render(){this.renderer.value(this.props)}destroy(){this.df.destroy()}async densityMap(e,t,n,r){let i=this.df.subgraph(),a=Po(i,this.gl,this.dataBuffers,i.value(e),i.value(t),i.value(n)),{x:o,y:s,scale:c}=r,l=[c,0,0,0,c,0,-o*c,-s*c,1],u=a.value(l),d=Ha(l);return i.destroy(),{data:u,width:e,height:t,coordinateAtPixel:(n,r)=>{let i=Ba([n/e*2-1,r/t*2-1,1],d);return{x:i[0],y:i[1]}}}}};function Ao(e,t,n){return{x:e.statefulDerive([t,n.xData,`f32`],to),y:e.statefulDerive([t,n.yData,`f32`],to),category:e.if(e.derive([n.categoryData],e=>e!=null),e=>e.statefulDerive([t,e.assertNotNull(n.categoryData),`u8`],to),e=>e.value(null)),count:e.derive([n.xData],e=>e.length)}}function jo(e,t,n,r){return e.switch(n.mode,{points:e=>Mo(e,t,n,r),density:e=>No(e,t,n,r)})}function Mo(e,t,n,r){let i=e.derive([n.categoryCount],e=>e>1),a=e.statefulDerive([t,n.width,n.height,4,`f32`],ro),o=e.if(i,e=>Eo(e,t,r.x,r.y,e.assertNotNull(r.category),r.count),e=>Eo(e,t,r.x,r.y,null,r.count)),s=fo(e,t);return e.derive([t,a,o,s,n.colorScheme,n.matrix,n.categoryCount],(e,t,n,r,i,a,o)=>s=>{let c=[],l=s.categoryColors??Ia(s.categoryCount);for(let e=0;e<o;e++)if(e<l.length){let{r:t,g:n,b:r}=La(l[e]);t**=+s.gamma,n**=+s.gamma,r**=+s.gamma,c=c.concat([t,n,r,1])}else c=c.concat([.5,.5,.5,1]);e.bindFramebuffer(e.FRAMEBUFFER,t.framebuffer),e.viewport(0,0,t.width,t.height),i==`light`?e.clearColor(1,1,1,1):e.clearColor(0,0,0,1),e.clear(e.COLOR_BUFFER_BIT),n(a,Math.max(3,s.pointSize),s.pointAlpha*s.pointsAlpha,c),e.bindFramebuffer(e.FRAMEBUFFER,null),e.viewport(0,0,s.width,s.height),r(t.texture,s.gamma)})}function No(e,t,n,r){let i=e.derive([n.densityBandwidth],e=>_o(e)+1),a=e.derive([n.width,i],(e,t)=>e+t*2),o=e.derive([n.height,i],(e,t)=>e+t*2),s=e.derive([n.categoryCount],e=>e>1),c=e.statefulDerive([t,a,o,4,`f32`],ro),l=e.statefulDerive([t,a,o,4,`f32`],ro),u=e.statefulDerive([t,a,o,4,`f32`],ro),d=e.statefulDerive([t,a,o,4,`f32`],ro),f=e.if(s,e=>lo(e,t,r.x,r.y,e.assertNotNull(r.category),r.count),e=>lo(e,t,r.x,r.y,null,r.count)),p=ao(e,t,n.pointSize),m=yo(e,t,n.densityBandwidth),h=Oo(e,t),g=wo(e,t),_=So(e,t),v=fo(e,t);return e.derive([t,c,l,u,d,n.colorScheme,n.matrix,f,p,m,h,g,_,v],(e,t,n,r,i,a,o,s,c,l,u,d,f,p)=>m=>{let h=m.categoryColors??Ia(m.categoryCount),g=[];for(let e=0;e<4;e++)if(e<h.length){let{r:t,g:n,b:r}=La(h[e]);t**=+m.gamma,n**=+m.gamma,r**=+m.gamma,g=g.concat([t,n,r,1])}else g=g.concat([.5,.5,.5,1]);let _=m.width/n.width,v=m.height/n.height,y=za([_,0,0,0,v,0,0,0,1],o);if(e.bindFramebuffer(e.FRAMEBUFFER,t.framebuffer),e.viewport(0,0,t.width,t.height),e.clearColor(0,0,0,0),e.clear(e.COLOR_BUFFER_BIT),s(y),e.bindFramebuffer(e.FRAMEBUFFER,n.framebuffer),e.viewport(0,0,n.width,n.height),a==`light`?e.clearColor(1,1,1,1):e.clearColor(0,0,0,1),e.clear(e.COLOR_BUFFER_BIT),m.pointAlpha>0&&m.pointsAlpha>0&&(c(t.texture,r,i),e.bindFramebuffer(e.FRAMEBUFFER,n.framebuffer),u(r,m.pointAlpha,m.pointsAlpha,g,a)),m.densityScaler>0&&(m.densityAlpha>0||m.contoursAlpha>0)&&(l(t.texture,r,i),e.bindFramebuffer(e.FRAMEBUFFER,n.framebuffer),m.densityAlpha>0&&d(r,m.densityScaler,m.densityQuantizationStep,m.densityAlpha,g,a),m.contoursAlpha>0))for(let e=0;e<h.length;e++){let t=[0,0,0,0];t[e]=1,f(r,m.densityScaler,m.densityQuantizationStep,m.contoursAlpha,t,g.slice(e*4,e*4+4))}e.bindFramebuffer(e.FRAMEBUFFER,null),e.viewport(0,0,m.width,m.height),p(n.texture,m.gamma,1/_,1/v)})}function Po(e,t,n,r,i,a){let o=e.derive([a],e=>po(e)+1),s=e.derive([r,o],(e,t)=>e+t*2),c=e.derive([i,o],(e,t)=>e+t*2),l=e.statefulDerive([t,s,c,1,`f32`],ro),u=e.statefulDerive([t,s,c,1,`f32`],ro),d=e.statefulDerive([t,s,c,1,`f32`],ro),f=lo(e,t,n.x,n.y,null,n.count),p=ho(e,t,a);return e.derive([t,o,r,i,l,u,d,f,p],(e,t,n,r,i,a,o,s,c)=>l=>{let u=za([n/i.width,0,0,0,r/i.height,0,0,0,1],l);e.bindFramebuffer(e.FRAMEBUFFER,i.framebuffer),e.viewport(0,0,i.width,i.height),e.clearColor(0,0,0,0),e.clear(e.COLOR_BUFFER_BIT),s(u),c(i.texture,a,o),e.bindFramebuffer(e.FRAMEBUFFER,a.framebuffer);let d=new Float32Array(n*r);return e.readPixels(t,t,n,r,e.RED,e.FLOAT,d),e.bindFramebuffer(e.FRAMEBUFFER,null),d})}var Fo=class{i32View;u32View;f32View;offset;constructor(e){this.i32View=new Int32Array(e),this.u32View=new Uint32Array(e),this.f32View=new Float32Array(e),this.offset=0}align2(){this.offset%2!=0&&(this.offset+=2-this.offset%2)}align4(){this.offset%4!=0&&(this.offset+=4-this.offset%4)}f32(e){this.f32View[this.offset++]=e}u32(e){this.u32View[this.offset++]=e}i32(e){this.i32View[this.offset++]=e}vec2f(e,t){this.align2(),this.f32View[this.offset++]=e,this.f32View[this.offset++]=t}vec3f(e,t,n){this.align4(),this.f32View[this.offset++]=e,this.f32View[this.offset++]=t,this.f32View[this.offset++]=n}vec4f(e,t,n,r){this.align4(),this.f32View[this.offset++]=e,this.f32View[this.offset++]=t,this.f32View[this.offset++]=n,this.f32View[this.offset++]=r}mat3x3f(e){this.vec3f(e[0],e[1],e[2]),this.vec3f(e[3],e[4],e[5]),this.vec3f(e[6],e[7],e[8])}byteOffset(){return this.offset*4}};function Io(e,t){let n=4288,r=new ArrayBuffer(n),i=e.statefulDerive([t,n,GPUBufferUsage.UNIFORM|GPUBufferUsage.COPY_DST|GPUBufferUsage.VERTEX],b);return{buffer:i,update:e.derive([t,i],(e,t)=>n=>{let i=new Fo(r);i.u32(n.count),i.u32(n.category_count),i.i32(n.framebuffer_width),i.i32(n.framebuffer_height),i.i32(n.density_width),i.i32(n.density_height),i.f32(n.gamma),i.f32(n.point_size),i.f32(n.point_alpha),i.f32(n.points_alpha),i.f32(n.density_scaler),i.f32(n.quantization_step),i.f32(n.density_alpha),i.f32(n.contours_alpha),i.mat3x3f(n.matrix),i.vec2f(...n.view_xy_scaler),i.vec4f(...n.kde_causal),i.vec4f(...n.kde_anticausal),i.vec4f(...n.kde_a),i.vec4f(...n.background_color);let a=n.gamma;for(let e=0;e<Math.min(n.category_colors.length,256);e++){let{r:t,g:r,b:o,a:s}=n.category_colors[e];t**=+a,r**=+a,o**=+a,i.vec4f(t,r,o,s)}e.queue.writeBuffer(t,0,r,0,i.byteOffset())})}}var Lo=64,Ro=64;function zo(e,t,n,r,i,a){let o=e.derive([t,n,r.layouts],(e,t,n)=>e.createComputePipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1,n.group2A]}),compute:{module:t,entryPoint:`accumulate`}}));return e.derive([o,r.group0,r.group1,r.group2A,a.countBuffer,i.count],(e,t,n,r,i,a)=>o=>{if(o.clearBuffer(i),a==0)return;let s=o.beginComputePass();s.setPipeline(e),s.setBindGroup(0,t),s.setBindGroup(1,n),s.setBindGroup(2,r),a<=Lo*Ro?s.dispatchWorkgroups(Math.ceil(a/Lo)):s.dispatchWorkgroups(Ro,Math.ceil(a/(Lo*Ro))),s.end()})}function Bo(e){let{COMPUTE:t,VERTEX:n,FRAGMENT:r}=GPUShaderStage;return{group0:e.createBindGroupLayout({entries:[{binding:0,visibility:t|n|r,buffer:{type:`uniform`}}]}),group1:e.createBindGroupLayout({entries:[{binding:0,visibility:t|n,buffer:{type:`read-only-storage`}},{binding:1,visibility:t|n,buffer:{type:`read-only-storage`}},{binding:2,visibility:t|n,buffer:{type:`read-only-storage`}}]}),group2A:e.createBindGroupLayout({entries:[{binding:0,visibility:t|r,buffer:{type:`storage`}}]}),group2B:e.createBindGroupLayout({entries:[{binding:1,visibility:t|r,buffer:{type:`storage`}},{binding:2,visibility:t|r,buffer:{type:`storage`}}]}),group2BlurForward:e.createBindGroupLayout({entries:[{binding:0,visibility:t,buffer:{type:`storage`}},{binding:2,visibility:t,buffer:{type:`storage`}}]}),group3:e.createBindGroupLayout({entries:[{binding:0,visibility:GPUShaderStage.FRAGMENT,sampler:{type:`non-filtering`}},{binding:1,visibility:GPUShaderStage.FRAGMENT,texture:{sampleType:`float`}},{binding:2,visibility:GPUShaderStage.FRAGMENT,texture:{sampleType:`float`}}]})}}function Vo(e,t,n,r,i){let a=e.derive([t],e=>Bo(e));return{layouts:a,group0:e.derive([t,a,n],(e,t,n)=>e.createBindGroup({layout:t.group0,entries:[{binding:0,resource:{buffer:n}}]})),group1:e.derive([t,a,r.x,r.y,r.category],(e,t,n,r,i)=>e.createBindGroup({layout:t.group1,entries:[{binding:0,resource:{buffer:n}},{binding:1,resource:{buffer:r}},{binding:2,resource:{buffer:i??n}}]})),group2A:e.derive([t,a,i.countBuffer,i.blurBuffer],(e,t,n,r)=>e.createBindGroup({layout:t.group2A,entries:[{binding:0,resource:{buffer:n}}]})),group2B:e.derive([t,a,i.countBuffer,i.blurBuffer],(e,t,n,r)=>e.createBindGroup({layout:t.group2B,entries:[{binding:1,resource:{buffer:n}},{binding:2,resource:{buffer:r}}]})),group2BlurForward:e.derive([t,a,i.countBuffer,i.blurBuffer],(e,t,n,r)=>e.createBindGroup({layout:t.group2BlurForward,entries:[{binding:0,resource:{buffer:n}},{binding:2,resource:{buffer:r}}]})),group3:e.derive([t,a,i.colorTexture,i.alphaTexture],(e,t,n,r)=>e.createBindGroup({layout:t.group3,entries:[{binding:0,resource:e.createSampler({})},{binding:1,resource:n.createView()},{binding:2,resource:r.createView()}]}))}}var Ho=256,Uo=256,Wo=Uo*Ho;function Go(e){let t=Math.ceil(e/Ho);return t<=Uo?[t,1]:[Uo,Math.ceil(e/Wo)]}function Ko(e,t,n,r){let i=e.statefulDerive([t,e.value(16),GPUBufferUsage.UNIFORM|GPUBufferUsage.COPY_DST],b),a=e.statefulDerive([t,e.value(16),GPUBufferUsage.STORAGE|GPUBufferUsage.COPY_DST],b),o=e.derive([n],e=>Math.max(4,e*4)),s=e.statefulDerive([t,o,GPUBufferUsage.STORAGE],b),c=e.derive([t],e=>e.createBindGroupLayout({entries:[{binding:0,visibility:GPUShaderStage.COMPUTE,buffer:{type:`uniform`}},{binding:1,visibility:GPUShaderStage.COMPUTE,buffer:{type:`storage`}},{binding:2,visibility:GPUShaderStage.COMPUTE,buffer:{type:`storage`}}]})),l=e.derive([t,c,i,a,s],(e,t,n,r,i)=>e.createBindGroup({layout:t,entries:[{binding:0,resource:{buffer:n}},{binding:1,resource:{buffer:r}},{binding:2,resource:{buffer:i}}]})),u=e.derive([t],e=>e.createBindGroupLayout({entries:[{binding:0,visibility:GPUShaderStage.VERTEX,buffer:{type:`read-only-storage`}}]}));return{uniformBuffer:i,countersBuffer:a,pointDataBuffer:s,bindGroupLayout:c,bindGroup:l,vertexBindGroupLayout:u,vertexBindGroup:e.derive([t,u,s],(e,t,n)=>e.createBindGroup({layout:t,entries:[{binding:0,resource:{buffer:n}}]}))}}function qo(e,t,n,r,i,a,o,s,c,l){let u=e.derive([t],e=>e.createBindGroupLayout({entries:[{binding:1,visibility:GPUShaderStage.COMPUTE,buffer:{type:`storage`}}]})),d=e.derive([t,u,a],(e,t,n)=>e.createBindGroup({layout:t,entries:[{binding:1,resource:{buffer:n}}]})),f=e.derive([t],e=>e.createBindGroupLayout({entries:[]})),p=e.derive([t,f],(e,t)=>e.createBindGroup({layout:t,entries:[]})),m=e.derive([t,n,r,i,u,c.bindGroupLayout],(e,t,n,r,i,a)=>e.createComputePipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n,r,i,a]}),compute:{module:t,entryPoint:`downsample_viewport_cull`}})),h=e.derive([t,n,r,i,f,c.bindGroupLayout],(e,t,n,r,i,a)=>e.createComputePipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n,r,i,a]}),compute:{module:t,entryPoint:`downsample_density_sample`}}));return e.derive([t,m,h,o,s,d,p,c.bindGroup,c.uniformBuffer,c.countersBuffer,l.count],(e,t,n,r,i,a,o,s,c,l,u)=>(d,f)=>{if(u===0||f.maxPoints<=0)return 0;let p=new ArrayBuffer(16),m=new DataView(p);m.setUint32(0,f.maxPoints,!0),m.setUint32(4,f.frameSeed,!0),m.setFloat32(8,f.densityWeight,!0),m.setFloat32(12,0,!0),e.queue.writeBuffer(c,0,p),d.clearBuffer(l);let[h,g]=Go(u);{let e=d.beginComputePass();e.setPipeline(t),e.setBindGroup(0,r),e.setBindGroup(1,i),e.setBindGroup(2,a),e.setBindGroup(3,s),e.dispatchWorkgroups(h,g),e.end()}{let e=d.beginComputePass();e.setPipeline(n),e.setBindGroup(0,r),e.setBindGroup(1,i),e.setBindGroup(2,o),e.setBindGroup(3,s),e.dispatchWorkgroups(h,g),e.end()}})}function Jo(e,t,n,r,i){let a=e.derive([t,n,r.layouts],(e,t,n)=>e.createRenderPipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1,n.group2B]}),vertex:{entryPoint:`draw_density_map_vs`,module:t},fragment:{entryPoint:`draw_density_map_fs`,module:t,targets:[{format:i.colorTextureFormat,blend:{color:{srcFactor:`one`,dstFactor:`one`},alpha:{srcFactor:`one`,dstFactor:`one`}}},{format:i.alphaTextureFormat,blend:{color:{srcFactor:`one`,dstFactor:`one`},alpha:{srcFactor:`one`,dstFactor:`one`}}}]},primitive:{topology:`triangle-strip`}}));return e.derive([a,r.group0,r.group1,r.group2B,i.colorTexture,i.alphaTexture],(e,t,n,r,i,a)=>o=>{let s=o.beginRenderPass({colorAttachments:[{loadOp:`load`,storeOp:`store`,view:i.createView()},{loadOp:`load`,storeOp:`store`,view:a.createView()}]});s.setPipeline(e),s.setBindGroup(0,t),s.setBindGroup(1,n),s.setBindGroup(2,r),s.draw(4),s.end()})}function Yo(e,t,n,r,i,a){let o=e.derive([t,n,r.layouts],(e,t,n)=>e.createRenderPipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1]}),vertex:{entryPoint:`points_vs`,module:t},fragment:{entryPoint:`points_fs`,module:t,targets:[{format:a.colorTextureFormat,blend:{color:{srcFactor:`one`,dstFactor:`one`},alpha:{srcFactor:`one`,dstFactor:`one`}}},{format:a.alphaTextureFormat,blend:{color:{srcFactor:`one`,dstFactor:`one`},alpha:{srcFactor:`one`,dstFactor:`one`}}}]},primitive:{topology:`triangle-strip`}}));return e.derive([o,r.group0,r.group1,i.count,a.colorTexture,a.alphaTexture],(e,t,n,r,i,a)=>o=>{let s=o.beginRenderPass({colorAttachments:[{clearValue:[0,0,0,0],loadOp:`clear`,storeOp:`store`,view:i.createView()},{clearValue:[0,0,0,0],loadOp:`clear`,storeOp:`store`,view:a.createView()}]});s.setPipeline(e),s.setBindGroup(0,t),s.setBindGroup(1,n),r>0&&s.draw(4,r),s.end()})}function Xo(e,t,n,r,i,a){let o=e.derive([t,n,r.layouts,i.vertexBindGroupLayout],(e,t,n,r)=>e.createRenderPipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1,r]}),vertex:{entryPoint:`points_downsampled_vs`,module:t},fragment:{entryPoint:`points_fs`,module:t,targets:[{format:a.colorTextureFormat,blend:{color:{srcFactor:`one`,dstFactor:`one`},alpha:{srcFactor:`one`,dstFactor:`one`}}},{format:a.alphaTextureFormat,blend:{color:{srcFactor:`one`,dstFactor:`one`},alpha:{srcFactor:`one`,dstFactor:`one`}}}]},primitive:{topology:`triangle-strip`}}));return e.derive([o,r.group0,r.group1,i.vertexBindGroup,a.colorTexture,a.alphaTexture],(e,t,n,r,i,a)=>(o,s)=>{let c=o.beginRenderPass({colorAttachments:[{clearValue:[0,0,0,0],loadOp:`clear`,storeOp:`store`,view:i.createView()},{clearValue:[0,0,0,0],loadOp:`clear`,storeOp:`store`,view:a.createView()}]});c.setPipeline(e),c.setBindGroup(0,t),c.setBindGroup(1,n),c.setBindGroup(2,r),s>0&&c.draw(4,s),c.end()})}function Zo(e,t,n,r,i){let a=e.derive([t,n,i.layouts],(e,t,n)=>e.createRenderPipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1,n.group2B,n.group3]}),vertex:{entryPoint:`gamma_correction_vs`,module:t},fragment:{entryPoint:`gamma_correction_fs`,module:t,targets:[{format:r}]},primitive:{topology:`triangle-strip`}}));return e.derive([a,i.group0,i.group1,i.group2B,i.group3],(e,t,n,r,i)=>(a,o)=>{let s=a.beginRenderPass({colorAttachments:[{clearValue:[1,1,1,1],loadOp:`clear`,storeOp:`store`,view:o}]});s.setPipeline(e),s.setBindGroup(0,t),s.setBindGroup(1,n),s.setBindGroup(2,r),s.setBindGroup(3,i),s.draw(4),s.end()})}var Qo=64;function $o(e,t,n,r,i,a,o){let s=e.derive([t,n,r.layouts],(e,t,n)=>e.createComputePipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1,n.group2BlurForward,n.group3]}),compute:{module:t,entryPoint:`gaussian_blur_stage_1`}})),c=e.derive([t,n,r.layouts],(e,t,n)=>e.createComputePipeline({layout:e.createPipelineLayout({bindGroupLayouts:[n.group0,n.group1,n.group2B,n.group3]}),compute:{module:t,entryPoint:`gaussian_blur_stage_2`}}));return e.derive([s,c,r.group0,r.group1,r.group2BlurForward,r.group2B,r.group3,i,a,o],(e,t,n,r,i,a,o,s,c,l)=>u=>{let d=u.beginComputePass();d.setBindGroup(0,n),d.setBindGroup(1,r),d.setBindGroup(3,o),d.setBindGroup(2,i),d.setPipeline(e),d.dispatchWorkgroups(Math.ceil(s/Qo),l),d.setBindGroup(2,a),d.setPipeline(t),d.dispatchWorkgroups(Math.ceil(c/Qo),l),d.end()})}function es(e,t=!1){let n=new Float64Array(5),r=new Float64Array(4);ts(n,r,e);let i=Float64Array.of(0,r[1]-n[1]*r[0],r[2]-n[2]*r[0],r[3]-n[3]*r[0],-n[4]*r[0]),a=1+n[1]+n[2]+n[3]+n[4];return{sigma:e,negative:t,a:n,b_causal:r,b_anticausal:i,sum_causal:(r[0]+r[1]+r[2]+r[3])/a,sum_anticausal:(i[1]+i[2]+i[3]+i[4])/a}}function ts(e,t,n){let r=Float64Array.of(.84,1.8675,.84,-1.8675,-.34015,-.1299,-.34015,.1299),i=Math.exp(-1.783/n),a=Math.exp(-1.723/n),o=.6318/n,s=1.997/n,c=Float64Array.of(-i*Math.cos(o),i*Math.sin(o),-i*Math.cos(-o),i*Math.sin(-o),-a*Math.cos(s),a*Math.sin(s),-a*Math.cos(-s),a*Math.sin(-s)),l=n*2.5066282746310007,u=Float64Array.of(r[0],r[1],0,0,0,0,0,0),d=Float64Array.of(1,0,c[0],c[1],0,0,0,0,0,0),f,p=2;for(;p<8;p+=2){for(u[p]=c[p]*u[p-2]-c[p+1]*u[p-1],u[p+1]=c[p]*u[p-1]+c[p+1]*u[p-2],f=p-2;f>0;f-=2)u[f]+=c[p]*u[f-2]-c[p+1]*u[f-1],u[f+1]+=c[p]*u[f-1]+c[p+1]*u[f-2];for(f=0;f<=p;f+=2)u[f]+=r[p]*d[f]-r[p+1]*d[f+1],u[f+1]+=r[p]*d[f+1]+r[p+1]*d[f];for(d[p+2]=c[p]*d[p]-c[p+1]*d[p+1],d[p+3]=c[p]*d[p+1]+c[p+1]*d[p],f=p;f>0;f-=2)d[f]+=c[p]*d[f-2]-c[p+1]*d[f-1],d[f+1]+=c[p]*d[f-1]+c[p+1]*d[f-2]}for(p=0;p<4;++p)f=p<<1,t[p]=u[f]/l,e[p+1]=d[f+2]}function ns(e){let t=es(e);return{kde_causal:[t.b_causal[0],t.b_causal[1],t.b_causal[2],t.b_causal[3]],kde_anticausal:[t.b_anticausal[1],t.b_anticausal[2],t.b_anticausal[3],t.b_anticausal[4]],kde_a:[t.a[1],t.a[2],t.a[3],t.a[4]]}}var rs=`// Copyright (c) 2025 Apple Inc. Licensed under MIT License.

enable f16;

struct Uniforms {
  count: u32,
  category_count: u32,
  framebuffer_width: i32,
  framebuffer_height: i32,
  density_width: i32,
  density_height: i32,
  gamma: f32,
  point_size: f32,
  point_alpha: f32,
  points_alpha: f32,
  density_scaler: f32,
  quantization_step: f32,
  density_alpha: f32,
  contours_alpha: f32,
  matrix: mat3x3<f32>,
  view_xy_scaler: vec2<f32>,
  kde_causal: vec4<f32>,
  kde_anticausal: vec4<f32>,
  kde_a: vec4<f32>,
  background_color: vec4<f32>,
  category_colors: array<vec4<f32>, 256>,
}

struct DownsampleUniforms {
  render_limit: u32,
  frame_seed: u32,
  density_weight: f32,
  _padding: f32,
}

struct PointData {
  position: vec3<f32>,
  category: u32,
}

struct FragmentOutput {
  @location(0) color: vec4<f32>,
  @location(1) log1malpha: f32, // log(1 - alpha)
}

@group(0) @binding(0) var<uniform> uniforms: Uniforms;

@group(1) @binding(0) var<storage, read> x_buffer: array<f32>;
@group(1) @binding(1) var<storage, read> y_buffer: array<f32>;
@group(1) @binding(2) var<storage, read> category_buffer: array<u32>;

@group(2) @binding(0) var<storage, read_write> count_buffer: array<atomic<u32>>;
@group(2) @binding(1) var<storage, read_write> blur_buffer: array<f16>;
@group(2) @binding(2) var<storage, read_write> blur_swap_buffer: array<f16>;

@group(3) @binding(0) var framebuffer_sampler: sampler;
@group(3) @binding(1) var color_texture: texture_2d<f32>;
@group(3) @binding(2) var log1malpha_texture: texture_2d<f32>;

// Downsampling bind groups (group 3 for compute shaders)
// WebGPU has a default limit of 4 bind groups, so we use group 3 (not 4)
// 3 storage buffers to stay within 8-buffer limit (3 from group1 + 1 from group2 + 3 from group3 = 7)
@group(3) @binding(0) var<uniform> downsample_uniforms: DownsampleUniforms;
@group(3) @binding(1) var<storage, read_write> downsample_counters: array<atomic<u32>>; // [visible_count, max_density_fixed]
@group(3) @binding(2) var<storage, read_write> point_data: array<f32>; // density (>= 0 means visible with density, < 0 means not visible or not accepted)

// Separate binding for vertex shader in downsampled draw pipeline
// Uses group 2 since the pipeline only needs groups 0, 1, 2
// (read-only access required by WebGPU for vertex shaders)
@group(2) @binding(0) var<storage, read> point_data_read: array<f32>; // same as point_data above

fn get_point(index: u32) -> PointData {
  var result: PointData;
  result.position = vec3(x_buffer[index], y_buffer[index], 1.0);
  if (uniforms.category_count > 1) {
    result.category = (category_buffer[index >> 2] >> ((index & 3) << 3)) & 0xff;
  } else {
    result.category = 0;
  }
  return result;
}

const ACCUMULATE_UNIT: u32 = 4096;

fn increment_count(x: i32, y: i32, category: u32, value: u32) {
  let width = uniforms.density_width;
  let height = uniforms.density_height;
  if (x < 0 || x >= width || y < 0 || y >= height || category >= uniforms.category_count || value == 0) {
    return;
  }
  let offset = (y * width + x) + i32(category) * (width * height);
  atomicAdd(&count_buffer[offset], value);
}

@compute @workgroup_size(64, 1)
fn accumulate(@builtin(global_invocation_id) id: vec3<u32>) {
  let width = uniforms.density_width;
  let height = uniforms.density_height;
  let index = id.y * 4096 + id.x; // 4096 = 64 * 64
  if (index >= uniforms.count) { return; }
  let point = get_point(index);
  let pos = uniforms.matrix * point.position;
  let x = (pos.x + 1.0) / 2.0 * f32(width) - 0.5;
  let y = (pos.y + 1.0) / 2.0 * f32(height) - 0.5;
  let ix = i32(x);
  let iy = i32(y);
  let tx = x - f32(ix);
  let ty = y - f32(iy);
  let w1: u32 = u32((1 - tx) * (1 - ty) * f32(ACCUMULATE_UNIT));
  let w2: u32 = u32(tx * (1 - ty) * f32(ACCUMULATE_UNIT));
  let w3: u32 = u32((1 - tx) * ty * f32(ACCUMULATE_UNIT));
  let w123 = w1 + w2 + w3;
  var w4: u32 = select(0, ACCUMULATE_UNIT - w123, w123 < ACCUMULATE_UNIT);
  increment_count(ix, iy, point.category, w1);
  increment_count(ix + 1, iy, point.category, w2);
  increment_count(ix, iy + 1, point.category, w3);
  increment_count(ix + 1, iy + 1, point.category, w4);
}

// =====================================================
// Draw Discrete Points
// =====================================================

struct PointsVertexOutput {
  @builtin(position) position: vec4<f32>,
  @location(0) dp: vec3<f32>,
  @location(1) color: vec4<f32>,
}

@vertex
fn points_vs(
  @builtin(instance_index) index: u32,
  @builtin(vertex_index) part: u32,
) -> PointsVertexOutput {
  let framebuffer_size = vec2(f32(uniforms.framebuffer_width), f32(uniforms.framebuffer_height));
  let alpha = uniforms.point_alpha * uniforms.points_alpha;
  let dp = vec2<f32>(f32(part % 2), f32(part / 2)) * 2.0 - 1.0;
  let point = get_point(index);
  let pos = uniforms.matrix * point.position;

  var out: PointsVertexOutput;
  out.position = vec4<f32>(pos.xy + dp * uniforms.point_size / framebuffer_size * 2.0, 0.0, 1.0);
  out.dp = vec3(dp, uniforms.point_size);
  out.color = uniforms.category_colors[point.category] * alpha;
  return out;
}

@fragment
fn points_fs(in: PointsVertexOutput) -> FragmentOutput {
  let r = length(in.dp.xy) * in.dp.z;
  let a = max(0.0, min(1.0, in.dp.z - r));
  var out: FragmentOutput;
  out.color = in.color * a;
  out.log1malpha = log(1 - out.color.a);
  return out;
}

// =====================================================
// Draw Density Map
// =====================================================

struct DrawDensityMapVertexOutput {
  @builtin(position) position: vec4<f32>,
  @location(0) texture_coord: vec2<f32>,
}

@vertex
fn draw_density_map_vs(
  @builtin(vertex_index) part: u32,
) -> DrawDensityMapVertexOutput {
  let framebuffer_size = vec2(f32(uniforms.framebuffer_width), f32(uniforms.framebuffer_height));
  let dp = vec2<f32>(f32(part % 2), f32(part / 2)) * 2.0 - 1.0;
  var out: DrawDensityMapVertexOutput;
  out.position = vec4(dp, 0.0, 1.0);
  out.texture_coord = (vec2(dp.x, dp.y) + 1.0) / 2.0 * framebuffer_size;
  return out;
}

fn get_density_raw(x: i32, y: i32, category: u32) -> f32 {
  let width = uniforms.density_width;
  let height = uniforms.density_height;
  let density_scaler = uniforms.density_scaler;
  if (x < 0 || x >= width || y < 0 || y >= height) {
    return 0.0;
  }
  let offset = (y * width + x) + i32(category) * (width * height);
  return max(0.0, f32(blur_buffer[offset]) * density_scaler);
}

fn get_density(x: f32, y: f32, category: u32) -> f32 {
  let px = x / f32(uniforms.framebuffer_width) * f32(uniforms.density_width) - 0.5;
  let py = y / f32(uniforms.framebuffer_height) * f32(uniforms.density_height) - 0.5;
  let ix = i32(px);
  let iy = i32(py);
  let tx = px - f32(ix);
  let ty = py - f32(iy);
  let v00 = get_density_raw(ix, iy, category);
  let v10 = get_density_raw(ix + 1, iy, category);
  let v01 = get_density_raw(ix, iy + 1, category);
  let v11 = get_density_raw(ix + 1, iy + 1, category);
  return mix(mix(v00, v10, tx), mix(v01, v11, tx), ty);
}

fn get_density_quantized(x: f32, y: f32, category: u32) -> f32 {
  let v = get_density(x, y, category);
  return floor(clamp(v, 0, 1) / uniforms.quantization_step);
}

fn get_density_quantized_sobel(x: f32, y: f32, category: u32) -> vec2<f32> {
  let v11 = get_density_quantized(x - 1, y - 1, category);
  let v21 = get_density_quantized(x, y - 1, category);
  let v31 = get_density_quantized(x + 1, y - 1, category);
  let v12 = get_density_quantized(x - 1, y, category);
  let v22 = get_density_quantized(x, y, category);
  let v32 = get_density_quantized(x + 1, y, category);
  let v13 = get_density_quantized(x - 1, y + 1, category);
  let v23 = get_density_quantized(x, y + 1, category);
  let v33 = get_density_quantized(x + 1, y + 1, category);
  let gx = v11 + v12 * 2.0 + v13 - v31 - v32 * 2.0 - v33;
  let gy = v11 + v21 * 2.0 + v31 - v13 - v23 * 2.0 - v33;
  return vec2(gx, gy);
}

@fragment
fn draw_density_map_fs(in: DrawDensityMapVertexOutput) -> FragmentOutput {
  let px = in.texture_coord.x;
  let py = in.texture_coord.y;
  let quantization_step: f32 = uniforms.quantization_step;

  var sum_color: vec4<f32> = vec4(0);
  var sum_log1malpha: f32 = 0.0;

  for (var i: u32 = 0; i < uniforms.category_count; i++) {
    let density = get_density(px, py, i);
    var alpha = min(1.0, floor(density / quantization_step) * quantization_step);
    alpha *= uniforms.density_alpha;
    let color = uniforms.category_colors[i] * alpha;
    sum_color += color;
    sum_log1malpha += log(1 - color.a);
  }

  if (uniforms.contours_alpha > 0.0) {
    for (var i: u32 = 0; i < uniforms.category_count; i++) {
      let sobel = get_density_quantized_sobel(px, py, i);
      let alpha = clamp(length(sobel) * 0.2, 0.0, 1.0) * uniforms.contours_alpha;
      let color = uniforms.category_colors[i] * alpha;
      sum_color += color;
      sum_log1malpha += log(1 - color.a);
    }
  }

  var out: FragmentOutput;
  out.color = sum_color;
  out.log1malpha = sum_log1malpha;
  return out;
}

// =====================================================
// Gamma Correction
// =====================================================

struct GammaCorrectionVertexOutput {
  @builtin(position) position: vec4<f32>,
  @location(0) texture_coord: vec2<f32>,
}

@vertex
fn gamma_correction_vs(
  @builtin(vertex_index) part: u32,
) -> GammaCorrectionVertexOutput {
  let dp = vec2<f32>(f32(part % 2), f32(part / 2)) * 2.0 - 1.0;
  var out: GammaCorrectionVertexOutput;
  out.position = vec4(dp * uniforms.view_xy_scaler, 0.0, 1.0);
  out.texture_coord = (vec2(dp.x, -dp.y) + 1.0) / 2.0;
  return out;
}

@fragment
fn gamma_correction_fs(in: GammaCorrectionVertexOutput) -> @location(0) vec4<f32> {
  let sum_color = textureSample(color_texture, framebuffer_sampler, in.texture_coord);
  let sum_log_one_minus_alpha = textureSample(log1malpha_texture, framebuffer_sampler, in.texture_coord).r;
  var color: vec4<f32>;
  if (sum_color.a > 0.0) {
    color = sum_color / sum_color.a * (1.0 - exp(sum_log_one_minus_alpha));
    color = color + uniforms.background_color * (1 - color.a);
  } else {
    color = uniforms.background_color;
  }
  let rgb = pow(color.rgb, vec3(1.0 / uniforms.gamma));
  return vec4(rgb, 1.0);
}

// =====================================================
// Gaussian Blur
// =====================================================

@compute @workgroup_size(64, 1)
fn gaussian_blur_stage_1(@builtin(global_invocation_id) id: vec3<u32>) {
  let width = uniforms.density_width;
  let height = uniforms.density_height;
  let x = id.x;
  if (x >= u32(width)) { return; }
  let start = x + id.y * u32(width * height);
  let count = u32(height);
  let stride = u32(width);

  deriche_conv_1d_forward(
    start, stride, count,
    uniforms.kde_causal, uniforms.kde_anticausal, uniforms.kde_a
  );
}

@compute @workgroup_size(64, 1)
fn gaussian_blur_stage_2(@builtin(global_invocation_id) id: vec3<u32>) {
  let width = uniforms.density_width;
  let height = uniforms.density_height;
  let y = id.x;
  if (y >= u32(height)) { return; }
  let start = y * u32(width) + id.y * u32(width * height);
  let count = u32(width);
  let stride = u32(1);

  deriche_conv_1d_backward(
    start, stride, count,
    uniforms.kde_causal, uniforms.kde_anticausal, uniforms.kde_a
  );
}

// The gaussian blur is a two-pass Deriche recursive filter (horizontal, then
// vertical) implemented as a ping-pong between two storage buffers.
//
// The forward pass reads the fixed-point accumulated densities. These live in
// \`count_buffer\` (an array<atomic<u32>>) which physically aliases \`blur_buffer\`.
// We read them through the u32 view rather than reinterpreting \`blur_buffer\`'s
// f16 pairs, because bitcasting a vec2<f16> to a u32 is not supported by all
// WGSL implementations (e.g. Firefox / naga).
//
// The two passes are kept as separate functions (rather than one function with
// a \`forward\` flag) so that each blur entry point statically references only the
// buffers it uses. That keeps \`count_buffer\`/\`blur_buffer\` (which alias the same
// GPU buffer) out of a single dispatch's usage scope at the same time, avoiding
// WebGPU storage-buffer aliasing validation errors.

// Forward pass: read u32 counts from count_buffer, write horizontal blur to blur_swap_buffer.
fn deriche_conv_1d_forward(
    start: u32, stride: u32, count: u32,
    kde_causal: vec4<f32>, kde_anticausal: vec4<f32>, kde_a: vec4<f32>
) {
  var s: vec4<f32> = vec4(0.0);
  var y0: f32 = 0.0;
  var y1234: vec4<f32> = vec4(0.0);

  var first_nonzero: u32 = count;
  var last_nonzero: u32 = 0;

  for (var i: u32 = 0; i < count; i++) {
    let offset = start + i * stride;
    var input: f32 = f32(atomicLoad(&count_buffer[offset])) / f32(ACCUMULATE_UNIT);
    if (input != 0.0) {
      first_nonzero = min(i, first_nonzero);
      last_nonzero = max(i, last_nonzero);
    }
    s = vec4(input, s.xyz);
    y1234 = vec4(y0, y1234.xyz);
    y0 = dot(kde_causal, s) - dot(kde_a, y1234);
    blur_swap_buffer[offset] = f16(y0);
  }

  if (first_nonzero > last_nonzero) {
    return;
  }

  s = vec4(0.0);
  y0 = 0.0;
  y1234 = vec4(0.0);

  for (var i: u32 = count - 1 - last_nonzero; i < count; i++) {
    let p = count - 1 - i;
    let offset = start + p * stride;
    var input: f32 = 0.0;
    if (p >= first_nonzero) {
      input = f32(atomicLoad(&count_buffer[offset])) / f32(ACCUMULATE_UNIT);
    }
    y1234 = vec4(y0, y1234.xyz);
    y0 = dot(kde_anticausal, s) - dot(kde_a, y1234);
    s = vec4(input, s.xyz);
    if (y0 != 0.0) {
      blur_swap_buffer[offset] = f16(f32(blur_swap_buffer[offset]) + y0);
    }
  }
}

// Backward pass: read f16 from blur_swap_buffer, write vertical blur to blur_buffer.
fn deriche_conv_1d_backward(
    start: u32, stride: u32, count: u32,
    kde_causal: vec4<f32>, kde_anticausal: vec4<f32>, kde_a: vec4<f32>
) {
  var s: vec4<f32> = vec4(0.0);
  var y0: f32 = 0.0;
  var y1234: vec4<f32> = vec4(0.0);

  var first_nonzero: u32 = count;
  var last_nonzero: u32 = 0;

  for (var i: u32 = 0; i < count; i++) {
    let offset = start + i * stride;
    var input: f32 = f32(blur_swap_buffer[offset]);
    if (input != 0.0) {
      first_nonzero = min(i, first_nonzero);
      last_nonzero = max(i, last_nonzero);
    }
    s = vec4(input, s.xyz);
    y1234 = vec4(y0, y1234.xyz);
    y0 = dot(kde_causal, s) - dot(kde_a, y1234);
    blur_buffer[offset] = f16(y0);
  }

  if (first_nonzero > last_nonzero) {
    return;
  }

  s = vec4(0.0);
  y0 = 0.0;
  y1234 = vec4(0.0);

  for (var i: u32 = count - 1 - last_nonzero; i < count; i++) {
    let p = count - 1 - i;
    let offset = start + p * stride;
    var input: f32 = 0.0;
    if (p >= first_nonzero) {
      input = f32(blur_swap_buffer[offset]);
    }
    y1234 = vec4(y0, y1234.xyz);
    y0 = dot(kde_anticausal, s) - dot(kde_a, y1234);
    s = vec4(input, s.xyz);
    if (y0 != 0.0) {
      blur_buffer[offset] = f16(f32(blur_buffer[offset]) + y0);
    }
  }
}

// =====================================================
// Downsampling: PCG hash for deterministic randomness
// =====================================================

fn pcg_hash(input: u32) -> u32 {
  var state = input * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

fn random_float(seed: u32) -> f32 {
  return f32(pcg_hash(seed)) / 4294967295.0;
}

// =====================================================
// Downsampling Pass 1: Viewport culling + density lookup
// =====================================================
// Uses 2D dispatch for large point counts (>65K workgroups)
// Stride: 256 workgroups * 256 threads = 65536 threads per row

const DOWNSAMPLE_STRIDE: u32 = 65536u;

@compute @workgroup_size(256)
fn downsample_viewport_cull(@builtin(global_invocation_id) id: vec3<u32>) {
  let index = id.y * DOWNSAMPLE_STRIDE + id.x;
  if (index >= uniforms.count) { return; }

  let point = get_point(index);
  let pos = uniforms.matrix * point.position;

  // Check if point is in viewport [-1, 1]
  let in_viewport = pos.x >= -1.0 && pos.x <= 1.0 && pos.y >= -1.0 && pos.y <= 1.0;

  if (in_viewport) {
    // Increment visible count
    atomicAdd(&downsample_counters[0], 1u);

    // Lookup density at this point's location from blur_buffer
    let width = uniforms.density_width;
    let height = uniforms.density_height;
    let dx = (pos.x + 1.0) / 2.0 * f32(width) - 0.5;
    let dy = (pos.y + 1.0) / 2.0 * f32(height) - 0.5;
    let ix = clamp(i32(dx), 0, width - 1);
    let iy = clamp(i32(dy), 0, height - 1);

    // Sum density across all categories at this grid cell
    var density: f32 = 0.0;
    for (var c: u32 = 0; c < uniforms.category_count; c++) {
      let offset = iy * width + ix + i32(c) * (width * height);
      density += f32(blur_buffer[offset]);
    }
    // Store density (positive = visible). Add small epsilon to ensure > 0.
    density = min(max(density, 0.0001), 65535.0);
    point_data[index] = density;

    // Track max density using fixed-point atomics
    let density_fixed = u32(density * 65536.0);
    atomicMax(&downsample_counters[1], density_fixed);
  } else {
    // Not visible: store -1.0
    point_data[index] = -1.0;
  }
}

// =====================================================
// Downsampling Pass 2: Probabilistic acceptance
// =====================================================

@compute @workgroup_size(256)
fn downsample_density_sample(@builtin(global_invocation_id) id: vec3<u32>) {
  let index = id.y * DOWNSAMPLE_STRIDE + id.x;
  if (index >= uniforms.count) { return; }

  let density = point_data[index];

  // Not visible (density < 0)
  if (density < 0.0) {
    return;
  }

  let visible_count = atomicLoad(&downsample_counters[0]);
  let render_limit = downsample_uniforms.render_limit;

  // If visible count is within limit, accept all visible points (keep positive density)
  if (visible_count <= render_limit) {
    return; // Keep positive value = accepted
  }

  // Compute acceptance probability based on density
  let max_density_fixed = atomicLoad(&downsample_counters[1]);
  let max_density = f32(max_density_fixed) / 65536.0;

  // Base acceptance rate
  let base_rate = f32(render_limit) / f32(visible_count);

  // Density-based modulation: lower density = higher acceptance
  let normalized_density = select(0.0, density / max_density, max_density > 0.0001);
  let density_weight = downsample_uniforms.density_weight;

  // Inverse density weighting: sparse areas get higher probability
  let inverse_weight = 1.0 / (1.0 + normalized_density * density_weight);

  // Compute final probability (scale by ~2 to compensate for average inverse_weight)
  let final_prob = min(1.0, base_rate * inverse_weight * 2.0);

  // Deterministic random for frame stability (based on point index + frame seed)
  let seed = index ^ downsample_uniforms.frame_seed;
  let rand = random_float(seed);

  // If not accepted, set to negative (marks as rejected)
  if (rand >= final_prob) {
    point_data[index] = -1.0;
  }
}

// =====================================================
// Draw points with downsampling
// =====================================================

@vertex
fn points_downsampled_vs(
  @builtin(instance_index) instance: u32,
  @builtin(vertex_index) part: u32,
) -> PointsVertexOutput {
  var out: PointsVertexOutput;

  let point_data = point_data_read[instance];
  if (point_data < 0.0) {
    // To discard a point, we set a out-of-viewport position. This avoids fragment costs.
    out.position = vec4<f32>(-1000, -1000, 0.0, 1.0);
    return out;
  }

  let framebuffer_size = vec2(f32(uniforms.framebuffer_width), f32(uniforms.framebuffer_height));
  let alpha = uniforms.point_alpha * uniforms.points_alpha;
  let dp = vec2<f32>(f32(part % 2), f32(part / 2)) * 2.0 - 1.0;
  let point = get_point(instance);
  let pos = uniforms.matrix * point.position;
  out.position = vec4<f32>(pos.xy + dp * uniforms.point_size / framebuffer_size * 2.0, 0.0, 1.0);
  out.dp = vec3(dp, uniforms.point_size);
  out.color = uniforms.category_colors[point.category] * alpha;
  return out;
}
`,is=class{props;viewport;df;device;module;uniforms;context;renderInputs;dataBuffers;renderer;constructor(e,t,n,r,i){this.context=e,this.props={mode:`points`,colorScheme:`light`,x:new Float32Array,y:new Float32Array,category:null,categoryCount:1,categoryColors:null,viewportX:0,viewportY:0,viewportScale:1,pointSize:1,pointAlpha:1,pointsAlpha:1,densityScaler:1,densityBandwidth:1,densityQuantizationStep:.1,contoursAlpha:1,densityAlpha:1,gamma:2.2,width:r,height:i,downsampleMaxPoints:4e6,downsampleDensityWeight:5},this.viewport=new Ua({x:0,y:0,scale:1},r,i),this.df=new Qa;let a=this.df;this.renderInputs={mode:a.value(this.props.mode),colorScheme:a.value(this.props.colorScheme),xData:a.value(this.props.x),yData:a.value(this.props.y),categoryData:a.value(this.props.category),categoryCount:a.value(this.props.categoryCount),categoryColors:a.value(this.props.categoryColors),matrix:a.value(Ra()),width:a.value(r),height:a.value(i),pointSize:a.value(this.props.pointSize),densityBandwidth:a.value(this.props.densityBandwidth),downsampleMaxPoints:a.value(this.props.downsampleMaxPoints),downsampleDensityWeight:a.value(this.props.downsampleDensityWeight)},this.device=a.value(t),this.dataBuffers=as(a,this.device,this.renderInputs),this.module=a.derive([this.device],e=>e.createShaderModule({code:rs})),this.uniforms=Io(a,this.device),this.renderer=ss(a,this.device,this.module,this.uniforms,n,this.renderInputs,this.dataBuffers)}setProps(e){let t=!1,n;for(n in e)e[n]!==this.props[n]&&(this.props[n]=e[n],t=!0);return this.viewport.update({x:this.props.viewportX,y:this.props.viewportY,scale:this.props.viewportScale},this.props.width,this.props.height),this.renderInputs.mode.value=this.props.mode,this.renderInputs.colorScheme.value=this.props.colorScheme,this.renderInputs.xData.value=this.props.x,this.renderInputs.yData.value=this.props.y,this.renderInputs.categoryData.value=this.props.category,this.renderInputs.categoryColors.value=this.props.categoryColors,this.props.category==null?this.renderInputs.categoryCount.value=1:this.renderInputs.categoryCount.value=this.props.categoryCount,this.renderInputs.matrix.value=this.viewport.matrix(),this.renderInputs.width.value=this.props.width,this.renderInputs.height.value=this.props.height,this.renderInputs.pointSize.value=this.props.pointSize,this.renderInputs.densityBandwidth.value=this.props.densityBandwidth,this.renderInputs.downsampleMaxPoints.value=this.props.downsampleMaxPoints,this.renderInputs.downsampleDensityWeight.value=this.props.downsampleDensityWeight,t}render(){this.renderer.value(this.props,this.context.getCurrentTexture().createView())}destroy(){this.df.destroy()}async densityMap(e,t,n,r){let i=this.df.subgraph(),{x:a,y:o,scale:s}=r,c=[s,0,0,0,s,0,-a*s,-o*s,1],l=Ha(c),u=await cs(i,this.device,this.module,this.uniforms,i.value(e),i.value(t),i.value(n),i.value(c),this.dataBuffers).value();return i.destroy(),{data:u,width:e,height:t,coordinateAtPixel:(n,r)=>{let i=Ba([n/e*2-1,r/t*2-1,1],l);return{x:i[0],y:i[1]}}}}};function as(e,t,n){let r=GPUBufferUsage.STORAGE|GPUBufferUsage.COPY_DST,i=e.derive([n.xData],e=>e.length),a=e.derive([i],e=>e*4),o=i;return{x:e.statefulDerive([t,e.statefulDerive([t,a,r],b),n.xData],x),y:e.statefulDerive([t,e.statefulDerive([t,a,r],b),n.yData],x),category:e.statefulDerive([t,e.statefulDerive([t,o,r],b),n.categoryData],x),count:i}}function os(e,t,n,r,i,a,o){let s=`rgba16float`,c=`r16float`,l=GPUTextureUsage.RENDER_ATTACHMENT|GPUTextureUsage.TEXTURE_BINDING,u=e.statefulDerive([t,n,r,s,l],S),d=e.statefulDerive([t,n,r,c,l],S),f=e.derive([i,a,o],(e,t,n)=>e*t*n*4),p=e.derive([i,a,o],(e,t,n)=>e*t*n*2);return{colorTexture:u,alphaTexture:d,colorTextureFormat:s,alphaTextureFormat:c,countBuffer:e.statefulDerive([t,f,GPUBufferUsage.STORAGE|GPUBufferUsage.COPY_DST|GPUBufferUsage.COPY_SRC],b),blurBuffer:e.statefulDerive([t,p,GPUBufferUsage.STORAGE],b)}}function ss(e,t,n,r,i,a,o){let s=e.derive([a.densityBandwidth],e=>Math.ceil(e*3)+1),c=e.derive([a.width,s],(e,t)=>e+t*2),l=e.derive([a.height,s],(e,t)=>e+t*2),u=e.derive([c],e=>Math.ceil(e/4)),d=e.derive([l],e=>Math.ceil(e/4)),f=os(e,t,c,l,u,d,a.categoryCount),p=Vo(e,t,r.buffer,o,f),m=Ko(e,t,o.count,a.downsampleMaxPoints),h=zo(e,t,n,p,o,f),g=Yo(e,t,n,p,o,f),_=Xo(e,t,n,p,m,f),v=Jo(e,t,n,p,f),y=Zo(e,t,n,i,p),b=$o(e,t,n,p,c,l,a.categoryCount),x=e.derive([p.layouts],e=>e),S=qo(e,t,n,e.derive([x],e=>e.group0),e.derive([x],e=>e.group1),f.blurBuffer,p.group0,p.group1,m,o),C=e.derive([a.densityBandwidth,c,u],(e,t,n)=>ns(e/t*n)),w=e.derive([a.categoryColors,a.categoryCount],(e,t)=>(e??=Ia(t),e.map(e=>La(e))));return e.derive([t,c,l,u,d,r.update,o.count,a.matrix,w,g,_,y,h,b,v,S,C],(e,t,n,r,i,a,o,s,c,l,u,d,f,p,m,h,g)=>(_,v)=>{let y=_.colorScheme==`light`?[1,1,1,1]:[0,0,0,1],b=_.width/t,x=_.height/n,S=za([b,0,0,0,x,0,0,0,1],s);a({count:o,category_count:_.categoryCount,framebuffer_width:t,framebuffer_height:n,density_width:r,density_height:i,gamma:_.gamma,point_size:Math.max(_.mode==`points`?3:1,_.pointSize),point_alpha:_.pointAlpha,points_alpha:_.pointsAlpha,density_scaler:_.densityScaler/16,quantization_step:_.densityQuantizationStep,density_alpha:_.densityAlpha,contours_alpha:_.contoursAlpha,matrix:S,view_xy_scaler:[1/b,1/x],kde_causal:g.kde_causal,kde_anticausal:g.kde_anticausal,kde_a:g.kde_a,background_color:y,category_colors:c});let C=e.createCommandEncoder(),w=_.downsampleMaxPoints,T=w===null||w===1/0||!Number.isFinite(w)||w<=0?null:w;T!==null&&o>T?(f(C),p(C),h(C,{maxPoints:T,densityWeight:_.downsampleDensityWeight,frameSeed:42}),u(C,o),_.mode==`density`&&(_.densityAlpha>0||_.contoursAlpha>0)&&m(C)):(l(C),_.mode==`density`&&(_.densityAlpha>0||_.contoursAlpha>0)&&(f(C),p(C),m(C))),d(C,v),e.queue.submit([C.finish()])})}function cs(e,t,n,r,i,a,o,s,c){let l=os(e,t,i,a,i,a,e.value(1)),u=Vo(e,t,r.buffer,c,l),d=zo(e,t,n,u,c,l),f=$o(e,t,n,u,i,a,e.value(1));return e.derive([t,i,a,c.count,r.update,o,s,d,f,l.countBuffer],(e,t,n,r,i,a,o,s,c,l)=>()=>{let u=e.createCommandEncoder(),d=ns(a);i({count:r,category_count:1,framebuffer_width:t,framebuffer_height:n,density_width:t,density_height:n,gamma:1,point_size:0,point_alpha:0,points_alpha:0,density_scaler:0,quantization_step:0,density_alpha:0,contours_alpha:0,matrix:o,view_xy_scaler:[1,1],kde_causal:d.kde_causal,kde_anticausal:d.kde_anticausal,kde_a:d.kde_a,background_color:[0,0,0,0],category_colors:[]}),s(u),c(u);let f=e.createBuffer({size:t*n*2,usage:GPUBufferUsage.COPY_DST|GPUBufferUsage.MAP_READ});return u.copyBufferToBuffer(l,0,f,0,t*n*2),e.queue.submit([u.finish()]),f.mapAsync(GPUMapMode.READ,0,t*n*2).then(()=>ls(f.getMappedRange()))})}function ls(e){let t=new Uint16Array(e),n=new Uint32Array(t.length);for(let e=0;e<t.length;e++){let r=t[e]&32767,i=t[e]&32768,a=t[e]&31744;r<<=13,i<<=16,r+=939524096,r=a==0?0:r,r|=i,n[e]=r}return new Float32Array(n.buffer)}var us=void 0;function ds(){return us??(us=document.createElement(`canvas`),us.width=1,us.height=1),us.getContext(`2d`)}function fs(e){let t=ds();t.font=`${e.fontSize??10}px ${e.fontFamily??`system-ui`}`;let n=e.text.split(`
`).map(e=>t.measureText(e).width),r=(e.fontSize??10)*(e.lineSpacing??1)*n.length;return{width:n.reduce((e,t)=>Math.max(e,t)),height:r}}var ps=null,ms=new Map;function hs(){return ps??=new Promise((e,t)=>{let n=new Worker(`about:blank`,{type:`module`});n.onmessage=t=>{if(t.data.ready)e(n);else if(t.data.id!=null){let e=ms.get(t.data.id);e!=null&&(ms.delete(t.data.id),e(t.data))}}}),ps}function gs(e,t,n=[]){return new Promise((r,i)=>{hs().then(i=>{let a=new Date().getTime().toString()+`-`+Math.random().toString();ms.set(a,e=>{r(e.payload)}),i.postMessage({id:a,name:e,payload:t},n)})})}var _s=(e,t,n,r)=>gs(`findClusters`,[e,t,n,r],[e.buffer]),vs=(...e)=>gs(`dynamicLabelPlacement`,e);async function ys(e,t,n){let r=t.reduce((e,t)=>Math.min(e,t.level??0),0),i=t.reduce((e,t)=>Math.max(e,t.level??0),0),a=e*.5,o=e*2,s=t.map(e=>{let t={x:e.x,y:e.y},a=e.level??0,s=a==0?14:12,c;return typeof e.content==`string`?(c=fs({text:e.content,fontSize:s,fontFamily:n}),c.width+=4,c.height+=4):c={width:e.content.width+4,height:e.content.height+4},{content:e.content,fontSize:s,bounds:{xMin:t.x-c.width/2,xMax:t.x+c.width/2,yMin:t.y-c.height/2,yMax:t.y+c.height/2},locationAtZero:t,priority:e.priority,minScale:e.level==i?null:1/(o*2**a*1.2),maxScale:e.level==r?null:1/(o*2**(a-1)),coordinate:{x:e.x,y:e.y},placement:null}}),c=await vs(s,{globalMaxScale:1/a});for(let e=0;e<c.length;e++){let t=c[e];if(t!=null){let n=1/t.minScale,r=1/t.maxScale;s[e].placement={minScale:r,maxScale:n}}}return s}var bs=g(m(((e,t)=>{(function(){function e(e,t){var n=e.x-t.x,r=e.y-t.y;return n*n+r*r}function n(e,t,n){var r=t.x,i=t.y,a=n.x-r,o=n.y-i;if(a!==0||o!==0){var s=((e.x-r)*a+(e.y-i)*o)/(a*a+o*o);s>1?(r=n.x,i=n.y):s>0&&(r+=a*s,i+=o*s)}return a=e.x-r,o=e.y-i,a*a+o*o}function r(t,n){for(var r=t[0],i=[r],a,o=1,s=t.length;o<s;o++)a=t[o],e(a,r)>n&&(i.push(a),r=a);return r!==a&&i.push(a),i}function i(e,t,r,a,o){for(var s=a,c,l=t+1;l<r;l++){var u=n(e[l],e[t],e[r]);u>s&&(c=l,s=u)}s>a&&(c-t>1&&i(e,t,c,a,o),o.push(e[c]),r-c>1&&i(e,c,r,a,o))}function a(e,t){var n=e.length-1,r=[e[0]];return i(e,0,n,t,r),r.push(e[n]),r}function o(e,t,n){if(e.length<=2)return e;var i=t===void 0?1:t*t;return e=n?e:r(e,i),e=a(e,i),e}typeof define==`function`&&define.amd?define(function(){return o}):t===void 0?typeof self<`u`?self.simplify=o:window.simplify=o:(t.exports=o,t.exports.default=o)})()}))(),1);function xs(e,t){let n=e.slice();for(let e=0;e<t;e++){let e=[],t=n.length;for(let r=0;r<t;r++){let i=n[r],a=n[(r+1)%t],o={x:.75*i.x+.25*a.x,y:.75*i.y+.25*a.y},s={x:.25*i.x+.75*a.x,y:.25*i.y+.75*a.y};e.push(o,s)}n=e}return n}function Ss(e,t){let n=xs(e,5),r=Ai(n),i=Math.max(r.xMax-r.xMin,r.yMax-r.yMin)/100,a=(0,bs.default)(n,i),o=0;for(;a.length>t&&o<20;)i*=1.1,o+=1,a=(0,bs.default)(n,i);return a}var Cs={light:{fontFamily:`system-ui,sans-serif`,clusterLabelColor:`#000`,clusterLabelOutlineColor:`rgba(255,255,255,0.8)`,clusterLabelOpacity:.8,statusBar:!0,statusBarTextColor:`#525252`,statusBarBackgroundColor:`rgba(255,255,255,0.9)`,brandingLink:{text:`Embedding Atlas`,href:`https://apple.github.io/embedding-atlas`}},dark:{fontFamily:`system-ui,sans-serif`,clusterLabelColor:`#ccc`,clusterLabelOutlineColor:`rgba(0,0,0,0.8)`,clusterLabelOpacity:.8,statusBar:!0,statusBarTextColor:`#d9d9d9`,statusBarBackgroundColor:`rgba(0,0,0,0.9)`,brandingLink:{text:`Embedding Atlas`,href:`https://apple.github.io/embedding-atlas`}}};function ws(e,t){return e==null?Cs[t]:{...Cs[t],...e,...e[t]==null?{}:e[t]}}function Ts(e,t,n,r,i,a,o){let s=Math.max(r,i)/a,c=e/(n*n)/(s*s),l=1/(c/(a*a))*.2,u=Math.sqrt(e/t/(s*s)),d=(Math.min(Math.max((Math.log(n)-Math.log(u))*2,-1),1)+1)/2,f;if(o!=null)f=o*a;else{let e=.25/Math.sqrt(c);f=Math.max(.2,Math.min(5,e))*a}let p=1-d,m=.5+d*.5;return{densityScaler:l,densityAlpha:p,contoursAlpha:p,pointSize:f,pointAlpha:.7,pointsAlpha:m,densityBandwidth:20}}var Es=Ir(`<div></div>`),Ds=Rr(`<circle></circle>`),Os=Rr(`<image></image>`),ks=Rr(`<text dominant-baseline="middle"> </text>`),As=Rr(`<g></g>`),js=Rr(`<g><!></g>`),Ms=Ir(`<div><canvas></canvas> <div><!></div> <svg role="none"><!><!><!><!></svg> <!> <!></div>`);function Ns(n,r){Ye(r,!0);let i=$(r,`data`,19,()=>({x:new Float32Array,y:new Float32Array,category:null})),a=$(r,`categoryCount`,3,1),s=$(r,`categoryColors`,3,null),c=$(r,`width`,3,800),l=$(r,`height`,3,800),u=$(r,`pixelRatio`,3,2),d=$(r,`theme`,3,null),f=$(r,`config`,3,null),p=$(r,`totalCount`,3,null),m=$(r,`maxDensity`,3,null),h=$(r,`labels`,3,null),g=$(r,`queryClusterLabels`,3,null),_=$(r,`tooltip`,7,null),y=$(r,`selection`,7,null),b=$(r,`querySelection`,3,null),x=$(r,`rangeSelection`,7,null),S=$(r,`defaultViewportState`,3,null),C=$(r,`viewportState`,7,null),w=$(r,`customTooltip`,3,null),T=$(r,`customOverlay`,3,null),ee=$(r,`onViewportState`,3,null),te=$(r,`onTooltip`,3,null),ne=$(r,`onSelection`,3,null),re=$(r,`onRangeSelection`,3,null),ie=$(r,`cache`,3,null),ae=$(r,`cacheIdentifier`,3,void 0),oe=V(()=>f()?.colorScheme??`light`),E=V(()=>ws(d(),q(oe))),se=V(()=>s()??Ia(a())),ce=V(()=>C()??S()??{x:0,y:0,scale:1}),le=V(()=>new Ua(q(ce),c(),l())),D=V(()=>q(le).pixelLocationFunction()),O=V(()=>q(le).coordinateAtPixelFunction()),ue=H(!1);function de(e,t){return e.x==t.x&&e.y==t.y&&e.category==t.category&&e.text==t.text}let fe=V(()=>y()?.length==1&&_()!=null&&de(y()[0],_()));function pe(t){e(C(),t)||(C(t),ee()?.(t))}function me(t){e(_(),t)||(_(t),te()?.(t))}function he(t){e(y(),t)||(y(t),ne()?.(t))}function ge(t){e(x(),t)||(x(t),re()?.(t))}let _e=H(ut([])),ve=H(null),ye=H(`none`),be=V(()=>c()*u()),xe=V(()=>l()*u()),k=H(null),A=H(null),Se=H(null),Ce=V(()=>f()?.minimumDensity??1/16),we=V(()=>f()?.pointSize??null),Te=V(()=>f()?.mode??`points`),Ee=V(()=>f()?.autoLabelEnabled),De=V(()=>f()?.downsampleMaxPoints??4e6),Oe=V(()=>f()?.downsampleDensityWeight??5),ke=V(()=>Ts(m()??(p()??i().x.length)/4,q(Ce),q(ce).scale,q(be),q(xe),u(),q(we))),Ae=V(()=>q(ke).pointSize),je=!0,Me=null;ar(()=>{h()!==Me&&(Me=h(),je=!0),q(A)?.setProps({mode:q(Te),colorScheme:q(oe),viewportX:q(ce).x,viewportY:q(ce).y,viewportScale:q(ce).scale,width:q(be),height:q(xe),x:i().x,y:i().y,category:i().category,categoryCount:a(),categoryColors:q(se),downsampleMaxPoints:q(De),downsampleDensityWeight:q(Oe),...q(ke)})&&Fe(),(q(Ee)!==!1||h()!=null)&&je&&q(A)!=null&&i().x!=null&&i().x.length>0&&S()!=null&&(je=!1,M(S()))});function Ne(){Pe=null,q(k)&&q(A)&&(q(k).width=q(A).props.width,q(k).height=q(A).props.height,q(k).style.width=`${q(A).props.width/u()}px`,q(k).style.height=`${q(A).props.height/u()}px`,q(A).render())}let Pe=null;function Fe(){Pe??=requestAnimationFrame(Ne)}function Ie(e){U(Se,`WebGPU is unavailable. Falling back to WebGL.`);let t;function n(){t=e.getContext(`webgl2`,{antialias:!1}),t==null?console.error(`Could not get WebGL 2 context`):(t.getExtension(`EXT_color_buffer_float`),t.getExtension(`EXT_float_blend`),t.getExtension(`OES_texture_float_linear`),U(A,new ko(t,q(be),q(xe)),!0))}n(),e.addEventListener(`webglcontextlost`,()=>{q(A)?.destroy(),U(A,null),t=null}),e.addEventListener(`webglcontextrestored`,()=>{n()})}function Le(e){let t=!0;async function n(){let r=await v();if(r==null){console.debug(`Could not get WebGPU device`),t&&Ie(e);return}let i=e.getContext(`webgpu`);if(i==null){console.debug(`Could not get WebGPU canvas context`),t&&Ie(e);return}t=!1,r.addEventListener(`uncapturederror`,e=>{console.error(`WebGPU uncaptured error:`,e.error)}),r.lost.then(async e=>{console.info(`WebGPU device was lost: ${e.message}`),e.reason!=`destroyed`&&(q(A)?.destroy(),U(A,null),i.unconfigure(),await n())});let a=navigator.gpu.getPreferredCanvasFormat();i.configure({device:r,format:a,alphaMode:`premultiplied`}),U(A,new is(i,r,a,q(be),q(xe)),!0)}n()}function Re(e){e!=null&&C()==null&&pe(e)}ar(()=>Re(S())),Qr(()=>{if(q(k)==null)return;Le(q(k));let e=q(k).toDataURL;q(k).toDataURL=(...t)=>(Ne(),e.apply(q(k),t))}),$r(()=>{q(A)?.destroy(),U(A,null)});function ze(e){let t=q(k)?.getBoundingClientRect()??{left:0,top:0};return{x:e.clientX-t.left,y:e.clientY-t.top}}function Be(e){e.preventDefault();let{x:t,y:n}=ze(e);Ve(Math.exp(-e.deltaY/200),{x:t,y:n})}function Ve(e,t){let{x:n,y:r,scale:i}=q(ce);me(null);let a=(S()?.scale??1)*100,o=(S()?.scale??1)*.01,s=Math.min(a,Math.max(o,i*e)),c=q(k).getBoundingClientRect(),l=Math.max(c.width,c.height),u=(t.x-c.width/2)/l*2,d=(c.height/2-t.y)/l*2;pe({x:n+u/i-u/s,y:r+d/i-d/s,scale:s})}function He(e){me(null);let t=`pan`;q(ye)==`none`?e.modifiers.shift&&(t=e.modifiers.meta?`lasso`:`marquee`):e.modifiers.shift||(t=q(ye));let n=ze(e);switch(t){case`marquee`:return{move:e=>{if(me(null),q(A)==null)return;let t=ze(e),r=q(O)(n.x,n.y),i=q(O)(t.x,t.y);ge({xMin:Math.min(r.x,i.x),yMin:Math.min(r.y,i.y),xMax:Math.max(r.x,i.x),yMax:Math.max(r.y,i.y)})}};case`lasso`:{let e=[q(O)(n.x,n.y)];return{move:t=>{if(me(null),q(A)==null)return;let n=ze(t);e=[...e,q(O)(n.x,n.y)],e.length>=3&&ge(Ss(e,24))}}}case`pan`:{let t=q(O)(0,0),n=q(O)(1,1),r=t.x-n.x,i=t.y-n.y,a=q(ce).x,o=q(ce).y;return{move:t=>{pe({x:a+(t.clientX-e.clientX)*r,y:o+(t.clientY-e.clientY)*i,scale:q(ce).scale})}}}}}async function Ue(e){if(x()!=null)ge(null);else{let t=await Ke(ze(e));if(t==null)he([]),me(null);else if(e.modifiers.shift||e.modifiers.ctrl||e.modifiers.meta){let e=y()?.findIndex(e=>e.x==t.x&&e.y==t.y&&e.category==t.category);y()==null||e==null||e<0?(he([...y()??[],t]),me(t)):(he([...y().slice(0,e),...y().slice(e+1)]),me(null))}else he([t]),me(t)}}let We=Di(async e=>{let t=e?ze(e):null;if(y()!=null&&y().length==1){let e=q(D)(y()[0].x,y()[0].y);t!=null&&Oi(t,e)<10&&me(y()[0])}else me(await Ke(t))},()=>_()!=null);function Ge(e){e==null?We(null):q(ue)||We(e)}ar(()=>{q(ue)&&We(null)});async function Ke(e){if(q(A)==null||e==null||b()==null)return null;let{x:t,y:n}=q(O)(e.x,e.y),r=Math.abs(q(O)(e.x+1,e.y).x-t);return await b()(t,n,r)}async function j(e,t,n,r=.005){let i=await e.densityMap(1e3,1e3,t,n),a=await _s(i.data,i.width,i.height),o=[];for(let e=0;e<a.length;e++){let n=a[e],r=i.coordinateAtPixel(n.meanX,n.meanY),s=n.boundaryRectApproximation.map(([e,t,n,r])=>{let a=i.coordinateAtPixel(e,t),o=i.coordinateAtPixel(n,r);return{xMin:Math.min(a.x,o.x),xMax:Math.max(a.x,o.x),yMin:Math.min(a.y,o.y),yMax:Math.max(a.y,o.y)}});o.push({x:r.x,y:r.y,sumDensity:n.sumDensity,rects:s,bandwidth:t})}let s=o.reduce((e,t)=>Math.max(e,t.sumDensity),0);return o.filter(e=>e.sumDensity/s>r)}async function qe(e){if(q(A)==null||g()==null)return[];let n=await t({autoLabel:{version:3,identifier:ae(),viewport:e,stopWords:f()?.autoLabelStopWords,densityThreshold:f()?.autoLabelDensityThreshold}});if(ie()!=null){let e=await ie().get(n);if(e!=null)return e}let r=await j(q(A),10,e,f()?.autoLabelDensityThreshold??.005);r=r.concat(await j(q(A),5,e));let i=await g()(r.map(e=>e.rects));for(let e=0;e<r.length;e++){let t=i[e];r[e].content=t,typeof t==`object`&&t&&`x`in t&&`y`in t&&t.x!=null&&t.y!=null&&(r[e].x=t.x,r[e].y=t.y)}let a=r.filter(e=>e.content!=null&&(typeof e.content!=`string`||e.content.length>0)).map(e=>({x:e.x,y:e.y,content:e.content,priority:e.sumDensity,level:e.bandwidth==10?0:1}));return ie()!=null&&await ie().set(n,a),a}async function M(e){let t=new Ua(e,1e3,1e3);if(q(A)!=null){if(h()!=null)U(_e,await ys(t.scale(),h(),q(E).fontFamily),!0);else{U(ve,`Generating labels...`);try{let n=await qe(e);U(_e,await ys(t.scale(),n,q(E).fontFamily),!0)}catch(e){console.error(`Error while generating labels`,e)}finally{U(ve,null)}}}}class Je{content;constructor(e,t){let n=document.createElement(`div`);this.content=n,this.update(t),e.appendChild(n)}update(e){let t=this.content;t.style.fontFamily=e.fontFamily,q(oe)==`light`?(t.style.color=`#000`,t.style.background=`#fff`,t.style.border=`1px solid #000`):(t.style.color=`#ccc`,t.style.background=`#000`,t.style.border=`1px solid #ccc`),t.style.borderRadius=`2px`,t.style.padding=`5px`,t.style.fontSize=`12px`,t.style.maxWidth=`300px`,t.innerText=e.tooltip.text??JSON.stringify(e.tooltip)}}function Ze(e){e.addEventListener(`wheel`,()=>{},{passive:!0})}var Qe=Ms();let $e;var et=L(Qe);Z(et,``,{},{position:`absolute`,top:`0`,left:`0`}),wi(et,e=>U(k,e),()=>q(k));var tt=R(et,2);let nt;var rt=L(tt),it=e=>{let t=V(()=>Gi(T())),n=V(()=>({location:q(D),width:c(),height:l()}));var r=zr();ti(yt(r),()=>q(t),e=>{var r=Es();fi(r,(e,n)=>q(t)?.(e,n),()=>Ki(T(),{proxy:q(n)})),Y(e,r)}),Y(e,r)};X(rt,e=>{T()&&e(it)}),I(tt);var N=R(tt,2);Z(N,``,{},{position:`absolute`,left:`0`,top:`0`});var at=L(N),P=e=>{let t=V(()=>{let{x:e,y:t}=q(D)(_().x,_().y);return{x:e,y:t}}),n=V(()=>Math.max(3,q(Ae)/u())+1);var r=zr(),i=yt(r),a=e=>{var r=Ds();let i;J(()=>{Q(r,`cx`,q(t).x),Q(r,`cy`,q(t).y),Q(r,`r`,q(n)),i=Z(r,``,i,{stroke:q(oe)==`light`?`#000`:`#fff`,"stroke-width":1,fill:`none`})}),Y(e,r)},o=V(()=>isFinite(q(t).x)&&isFinite(q(t).y)&&isFinite(q(n)));X(i,e=>{q(o)&&e(a)}),Y(e,r)};X(at,e=>{_()!=null&&q(A)!=null&&e(P)});var F=R(at),ot=e=>{var t=zr();oi(yt(t),17,y,ni,(e,t)=>{let n=V(()=>{let{x:e,y:n}=q(D)(q(t).x,q(t).y);return{x:e,y:n}}),r=V(()=>q(t).category==null?q(se)[0]:q(se)[q(t).category]),i=V(()=>Math.max(3,q(Ae)/u())+1);var a=zr(),o=yt(a),s=e=>{var t=Ds();let a;J(()=>{Q(t,`cx`,q(n).x),Q(t,`cy`,q(n).y),Q(t,`r`,q(i)),a=Z(t,``,a,{stroke:q(oe)==`light`?`#000`:`#fff`,"stroke-width":2,fill:q(r)})}),Y(e,t)},c=V(()=>isFinite(q(n).x)&&isFinite(q(n).y)&&isFinite(q(i)));X(o,e=>{q(c)&&e(s)}),Y(e,a)}),Y(e,t)};X(F,e=>{y()!=null&&q(A)!=null&&e(ot)});var st=R(F),ct=e=>{var t=As();oi(t,21,()=>q(_e),ni,(e,t)=>{let n=V(()=>q(D)(q(t).coordinate.x,q(t).coordinate.y)),r=V(()=>q(le).scale()),i=V(()=>q(t).placement!=null&&q(t).placement.minScale<=q(r)&&q(r)<=q(t).placement.maxScale);var a=js(),o=L(a),s=e=>{var n=zr(),r=yt(n),i=e=>{var n=Os();let r;J(()=>{Q(n,`href`,q(t).content.image),Q(n,`x`,-q(t).content.width/2),Q(n,`y`,-q(t).content.height/2),Q(n,`width`,q(t).content.width),Q(n,`height`,q(t).content.height),r=Z(n,``,r,{"user-select":`none`,"-webkit-user-select":`none`,opacity:q(E).clusterLabelOpacity})}),Y(e,n)},a=e=>{let n=V(()=>q(t).content.split(`
`));var r=As();oi(r,21,()=>q(n),ni,(e,r,i)=>{var a=ks();Q(a,`x`,0);let o;var s=L(a,!0);I(a),J(()=>{Q(a,`y`,(i-(q(n).length-1)/2)*q(t).fontSize),Q(a,`font-size`,q(t).fontSize),o=Z(a,``,o,{"paint-order":`stroke`,"stroke-width":`4`,"stroke-linejoin":`round`,"stroke-linecap":`round`,"text-anchor":`middle`,fill:q(E).clusterLabelColor,stroke:q(E).clusterLabelOutlineColor,opacity:q(E).clusterLabelOpacity,"user-select":`none`,"-webkit-user-select":`none`,"font-family":q(E).fontFamily}),Hr(s,q(r))}),Y(e,a)}),I(r),Y(e,r)};X(r,e=>{typeof q(t).content==`string`?e(a,-1):e(i)}),Y(e,n)};X(o,e=>{q(i)&&e(s)}),I(a),J(()=>Q(a,`transform`,`translate(${q(n).x??``},${q(n).y??``})`)),Y(e,a)}),I(t),Y(e,t)};X(st,e=>{e(ct)});var lt=R(st),dt=e=>{var t=zr(),n=yt(t),r=e=>{Mi(e,{get value(){return x()},get pointLocation(){return q(D)}})},i=e=>{Ei(e,{get value(){return x()},onChange:ge,get pointLocation(){return q(D)},get coordinateAtPoint(){return q(O)},preventHover:e=>{U(ue,e,!0)}})};X(n,e=>{x()instanceof Array?e(r):e(i,-1)}),Y(e,t)};X(lt,e=>{x()!=null&&q(A)!=null&&e(dt)}),I(N),fi(N,(e,t)=>o?.(e,t),()=>({click:Ue,drag:He,hover:Ge}));var ft=R(N,2),pt=e=>{let t=V(()=>q(D)(_().x,_().y));{let n=V(()=>Math.max(3,q(Ae)/u())),r=V(()=>w()??{class:Je,props:{colorScheme:q(oe),fontFamily:q(E).fontFamily}});Ji(e,{get location(){return q(t)},get allowInteraction(){return q(fe)},get targetHeight(){return q(n)},get customTooltip(){return q(r)},get tooltip(){return _()}})}};X(ft,e=>{_()!=null&&q(A)!=null&&e(pt)});var mt=R(ft,2),ht=e=>{{let t=V(()=>q(ve)??q(Se)),n=V(()=>1/(q(D)(1,0).x-q(D)(0,0).x));Hi(e,{get resolvedTheme(){return q(E)},get statusMessage(){return q(t)},get distancePerPoint(){return q(n)},get pointCount(){return i().x.length},get selectionMode(){return q(ye)},onSelectionMode:e=>U(ye,e,!0)})}};X(mt,e=>{q(E).statusBar&&e(ht)}),I(Qe),fi(Qe,e=>Ze?.(e)),J(()=>{$e=Z(Qe,``,$e,{width:`${c()??``}px`,height:`${l()??``}px`,position:`relative`}),nt=Z(tt,``,nt,{width:`${c()??``}px`,height:`${l()??``}px`,position:`absolute`,top:`0`,left:`0`}),Q(N,`width`,c()),Q(N,`height`,l())}),Dr(`wheel`,N,Be),Y(n,Qe),Xe()}function Ps(e,t,n=0,r=e.length-1,i=Is){for(;r>n;){if(r-n>600){let a=r-n+1,o=t-n+1,s=Math.log(a),c=.5*Math.exp(2*s/3),l=.5*Math.sqrt(s*c*(a-c)/a)*(o-a/2<0?-1:1);Ps(e,t,Math.max(n,Math.floor(t-o*c/a+l)),Math.min(r,Math.floor(t+(a-o)*c/a+l)),i)}let a=e[t],o=n,s=r;for(Fs(e,n,t),i(e[r],a)>0&&Fs(e,n,r);o<s;){for(Fs(e,o,s),o++,s--;i(e[o],a)<0;)o++;for(;i(e[s],a)>0;)s--}i(e[n],a)===0?Fs(e,n,s):(s++,Fs(e,s,r)),s<=t&&(n=s+1),t<=s&&(r=s-1)}}function Fs(e,t,n){let r=e[t];e[t]=e[n],e[n]=r}function Is(e,t){return e<t?-1:+(e>t)}var Ls=new Float32Array;function Rs(e){let t=e.length;if(t===0)return 0;Ls.length<t&&(Ls=new Float32Array(t)),Ls.set(e);let n=Math.floor(t/2);return Ps(Ls,n,0,t-1),Ls[n]}function zs(e){let t=e.length;if(t===0)return 0;let n=e[0],r=0,i=0;for(let a=0;a<t;a++){let t=e[a]-n;r+=t,i+=t*t}let a=r/t,o=i/t-a*a;return Math.sqrt(o>0?o:0)}var Bs=256,Vs=null;function Hs(e,t,n,r=0,i=0){let a=Bs,o=Vs;o==null?(o=new Int32Array(a*a),Vs=o):o.fill(0);let s=0;for(let c=0;c<e.length;c++){let l=Math.floor((e[c]-r)/n)+128,u=Math.floor((t[c]-i)/n)+128;if(l<0||l>=a||u<0||u>=a)continue;let d=++o[u*a+l];d>s&&(s=d)}return s/(n*n)}function Us(e,t){Ye(t,!0);let n=$(t,`tooltip`,3,null),r=$(t,`selection`,3,null),i=$(t,`rangeSelection`,3,null),a=$(t,`categoryColors`,3,null),o=$(t,`width`,3,null),s=$(t,`height`,3,null),c=$(t,`pixelRatio`,3,null),l=$(t,`theme`,3,null),u=$(t,`config`,3,null),d=$(t,`viewportState`,3,null),f=$(t,`labels`,3,null),p=$(t,`customTooltip`,3,null),m=$(t,`customOverlay`,3,null),h=$(t,`querySelection`,3,null),g=$(t,`queryClusterLabels`,3,null),_=$(t,`onViewportState`,3,null),v=$(t,`onTooltip`,3,null),y=$(t,`onSelection`,3,null),b=$(t,`onRangeSelection`,3,null),x=$(t,`cache`,3,null),S=V(()=>T(t.data)),C=null,w=1;function T(e){let t=1;e.category!=null&&(e.category===C?t=w:(t=e.category.reduce((e,t)=>Math.max(e,t),0)+1,C=e.category,w=t));let n=Rs(e.x),r=Rs(e.y),i=zs(e.x),a=zs(e.y),o=1/(Math.max(i,a,.001)*3),s=.1/o,c=Hs(e.x,e.y,s,n,r);return{count:e.x.length,categoryCount:t,maxDensity:c,defaultViewportState:{x:n,y:r,scale:o*.95}}}{let C=V(()=>o()??800),w=V(()=>s()??800),T=V(()=>c()??2),ee=V(()=>({x:t.data.x,y:t.data.y,category:t.data.category??null}));Ns(e,{get width(){return q(C)},get height(){return q(w)},get pixelRatio(){return q(T)},get theme(){return l()},get config(){return u()},get data(){return q(ee)},get totalCount(){return q(S).count},get maxDensity(){return q(S).maxDensity},get categoryCount(){return q(S).categoryCount},get categoryColors(){return a()},get defaultViewportState(){return q(S).defaultViewportState},get querySelection(){return h()},get queryClusterLabels(){return g()},get labels(){return f()},get customTooltip(){return p()},get customOverlay(){return m()},get tooltip(){return n()},get onTooltip(){return v()},get selection(){return r()},get onSelection(){return y()},get viewportState(){return d()},get onViewportState(){return _()},get rangeSelection(){return i()},get onRangeSelection(){return b()},get cache(){return x()}})}Xe()}var Ws=class{component;currentProps;constructor(e,t){this.currentProps={...t},this.component=Yr({component:Us,target:e,props:t})}update(e){let t={};for(let n in e)e[n]!==this.currentProps[n]&&(t[n]=e[n],this.currentProps[n]=e[n]);this.component.$set(t)}destroy(){this.component.$destroy()}};export{Ws as EmbeddingView};