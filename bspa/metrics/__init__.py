"""Image quality: PSNR and SSIM (Section 4.1), NIQE and LPIPS (Table 6)."""
